//! `connector_state`: the lease of each connector, how far its syncs have come, and when the next one is due.

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, SpaceId};
use platform::offsets::Offsets;
use sqlx::{PgConnection, PgExecutor};

use super::change_cursors::ChangeCursors;

/// How long a lease is valid without being renewed, in seconds.
pub const LEASE_SECONDS: f64 = 15.0;
/// Failures in a row before schedules back off: by a second, then twice as long each time, up to the maximum.
const TOLERATED_FAILURES: i32 = 3;
const MAX_BACKOFF_SECONDS: f64 = 60.0;
/// After refused credentials schedules wait for a minute, then twice as long each time, up to the maximum:
/// few enough attempts for login services that lock users out.
const MIN_REFUSED_BACKOFF_SECONDS: f64 = 60.0;
const MAX_REFUSED_BACKOFF_SECONDS: f64 = 6.0 * 3600.0;

/// The exclusive right to sync a connector. Every lease has a higher epoch than the one before it, and
/// statements that carry an older epoch change nothing.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Lease {
    pub connector_id: ConnectorId,
    #[sqlx(rename = "lease_epoch")]
    pub epoch: i64,
}

/// Leases the connector with the oldest open sync, or `only` this one; none when no sync is open.
///
/// Open are queued syncs, and running ones whose worker has let its lease expire. A request that has not come
/// back from Kafka within a minute counts as accepted: its row exists, so it is never lost.
pub async fn lease(
    db: impl PgExecutor<'_>,
    owner: &str,
    only: Option<ConnectorId>,
) -> sqlx::Result<Option<Lease>> {
    sqlx::query_as(
        "update connector_state set lease_owner = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + make_interval(secs => $2)
         where connector_id = (
             select state.connector_id from sync_queue q
             join connector_state state using (connector_id)
             where (q.accepted_at is not null or q.requested_at < now() - interval '1 minute')
               and (state.lease_until is null or state.lease_until < now())
               and ($3::uuid is null or state.connector_id = $3)
             order by q.requested_at limit 1
             for update of state skip locked)
         returning connector_id, lease_epoch",
    )
    .bind(owner)
    .bind(LEASE_SECONDS)
    .bind(only)
    .fetch_optional(db)
    .await
}

/// Whether the read model lacks records that were published of the connector, in SQL. An hour later they do
/// not count any more: their topic may have been created again.
macro_rules! is_behind {
    () => {
        "(coalesce(state.published_at > now() - interval '1 hour', false) and exists (
             select from jsonb_to_recordset(state.published_offsets)
                 as published(topic text, partition int, next_offset bigint)
             left join projection_offsets projected using (topic, partition)
             where coalesce(projected.next_offset, 0) < published.next_offset))"
    };
}
pub(crate) use is_behind;

/// Leases a deleted connector with active pipelines; none when there is none, or only such whose last records
/// are not in the read model yet.
pub(crate) async fn lease_deleted(db: impl PgExecutor<'_>, owner: &str) -> sqlx::Result<Option<Lease>> {
    sqlx::query_as(concat!(
        "update connector_state set lease_owner = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + make_interval(secs => $2)
         where connector_id = (
             select state.connector_id from connectors c
             join connector_state state on state.connector_id = c.id
             where c.deleted_at is not null and (state.lease_until is null or state.lease_until < now())
               and exists (select from pipelines p where p.connector_id = c.id and p.is_active)
               and not ",
        is_behind!(),
        "
             limit 1 for update of state skip locked)
         returning connector_id, lease_epoch"
    ))
    .bind(owner)
    .bind(LEASE_SECONDS)
    .fetch_optional(db)
    .await
}

/// Stores the offsets after the last published records, if there are any: the read model may not contain them
/// yet. Nothing changes when the lease is lost.
pub(crate) async fn store_published(
    db: impl PgExecutor<'_>,
    lease: Lease,
    published: &Offsets,
) -> sqlx::Result<()> {
    if published.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update connector_state set published_at = now(), published_offsets = (
             select jsonb_agg(jsonb_build_object('topic', topic, 'partition', partition, 'next_offset', next))
             from unnest($3::text[], $4::int[], $5::bigint[]) as published(topic, partition, next))
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(published.keys().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>())
    .bind(published.keys().map(|(_, partition)| *partition).collect::<Vec<_>>())
    .bind(published.values().copied().collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what was published of every connector, because the log that it was published on was replaced: its
/// offsets mean nothing any more.
pub(crate) async fn forget_published(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    let forget = "update connector_state set published_offsets = null where published_offsets is not null";
    sqlx::query(forget).execute(db).await.map(drop)
}

/// Extends a lease; false when it is lost.
pub async fn renew(db: impl PgExecutor<'_>, lease: Lease) -> sqlx::Result<bool> {
    let renewed = sqlx::query(
        "update connector_state set lease_until = clock_timestamp() + make_interval(secs => $3)
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(LEASE_SECONDS)
    .execute(db)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Ends a lease before it expires.
pub async fn release(db: &mut PgConnection, lease: Lease) -> sqlx::Result<()> {
    sqlx::query("update connector_state set lease_until = null where connector_id = $1 and lease_epoch = $2")
        .bind(lease.connector_id)
        .bind(lease.epoch)
        .execute(db)
        .await?;
    Ok(())
}

/// Moves the cursors during a sync; false when the lease is lost.
pub(crate) async fn move_cursors(
    db: impl PgExecutor<'_>,
    lease: Lease,
    cursors: ChangeCursors,
) -> sqlx::Result<bool> {
    let moved = sqlx::query(
        "update connector_state set cursor_at = $3, runs_cursor_at = nullif($4, $3),
             task_runs_cursor_at = nullif($5, $3)
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(cursors.earliest())
    .bind(cursors.runs)
    .bind(cursors.task_runs)
    .execute(db)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Updates the state after a poll of a sync that reads more than that, or does not succeed; false when the
/// lease is lost. `ends_failures` says whether failures are counted anew.
pub(crate) async fn update_after_poll(
    db: &mut PgConnection,
    lease: Lease,
    cursors: ChangeCursors,
    confirmed_at: DateTime<Utc>,
    ends_failures: bool,
) -> sqlx::Result<bool> {
    let updated = sqlx::query(
        "update connector_state set cursor_at = $3, runs_cursor_at = nullif($4, $3),
             task_runs_cursor_at = nullif($5, $3), confirmed_at = $6, credentials_refused_at = null,
             failures = case when $7 then 0 else failures end
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(cursors.earliest())
    .bind(cursors.runs)
    .bind(cursors.task_runs)
    .bind(confirmed_at)
    .bind(ends_failures)
    .execute(db)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Updates the state after a complete sync, which has read all lists, and ends the lease; false when the
/// lease was lost before.
pub(crate) async fn update_after_success(
    db: &mut PgConnection,
    lease: Lease,
    cursor: DateTime<Utc>,
    confirmed_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let updated = sqlx::query(
        "update connector_state set cursor_at = $3, runs_cursor_at = null, task_runs_cursor_at = null,
             confirmed_at = $4, last_success_at = clock_timestamp(), credentials_refused_at = null,
             failures = 0, retry_at = null, lease_until = null
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(cursor)
    .bind(confirmed_at)
    .execute(db)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// How a sync failed, as far as it matters for the connector's schedule.
pub(crate) struct Failure {
    pub credentials_refused: bool,
    /// Whether it counts as one more failure in a row.
    pub counts: bool,
    /// The shortest back-off, in seconds.
    pub retry_after: f64,
}

/// Updates the state after a failed sync and ends the lease; false when the lease was lost before.
///
/// After refused credentials the wait is as long as they have been refused, and a minute: so it doubles. The
/// next tick comes then even if the schedule is rarer.
pub(crate) async fn update_after_failure(
    db: &mut PgConnection,
    lease: Lease,
    failure: &Failure,
) -> sqlx::Result<bool> {
    let updated = sqlx::query(
        "with back_off as (
             select connector_id, clock_timestamp() as now,
                 greatest($5, least($6, 2 ^ least(failures - $7, 16)),
                     case when $3 then least($9, $8 + coalesce(
                         extract(epoch from clock_timestamp() - credentials_refused_at)::float8, 0)) end)
                     as seconds
             from connector_state where connector_id = $1 and lease_epoch = $2
             for update)
         update connector_state state set lease_until = null,
             credentials_refused_at =
                 case when $3 then coalesce(credentials_refused_at, now) else credentials_refused_at end,
             failures = failures + $4,
             retry_at = now + make_interval(secs => seconds),
             next_due_at = case when $3 and next_due_at is not null
                 then least(next_due_at, now + make_interval(secs => seconds)) else next_due_at end
         from back_off where state.connector_id = back_off.connector_id",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(failure.credentials_refused)
    .bind(i32::from(failure.counts))
    .bind(failure.retry_after)
    .bind(MAX_BACKOFF_SECONDS)
    .bind(TOLERATED_FAILURES)
    .bind(MIN_REFUSED_BACKOFF_SECONDS)
    .bind(MAX_REFUSED_BACKOFF_SECONDS)
    .execute(db)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// A connector whose next tick has come.
#[derive(sqlx::FromRow)]
pub(crate) struct DueConnector {
    pub connector_id: ConnectorId,
    pub space_id: SpaceId,
    pub next_due_at: DateTime<Utc>,
    pub schedule: Option<String>,
    /// Whether a scheduled sync of it is queued or running.
    pub is_busy: bool,
    pub now: DateTime<Utc>,
}

/// Finds connectors that are due and locks their rows for this transaction. Those that another worker holds
/// are skipped, and so are those whose last records are not in the read model yet: a poll would publish the
/// same changes again. They stay due.
pub(crate) async fn lock_due(db: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<DueConnector>> {
    sqlx::query_as(concat!(
        "select state.connector_id, c.space_id, state.next_due_at, c.config->>'schedule' as schedule,
             now() as now,
             exists (select from sync_queue q
                     where q.connector_id = c.id and q.trigger = 'schedule') as is_busy
         from connector_state state join connectors c on c.id = state.connector_id
         where state.next_due_at <= now()
           and (state.retry_at is null or state.retry_at <= now())
           and c.is_active and c.deleted_at is null and not ",
        is_behind!(),
        "
         order by state.next_due_at limit $1
         for update of state skip locked"
    ))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// The next tick of a connector's schedule; none when it has no schedule.
pub(crate) struct NextTick {
    pub connector_id: ConnectorId,
    pub next_due_at: Option<DateTime<Utc>>,
    pub missed_ticks: i64,
}

/// Stores when connectors are due next, and adds the ticks that they have missed.
pub(crate) async fn update_next_ticks(db: &mut PgConnection, ticks: &[NextTick]) -> sqlx::Result<()> {
    sqlx::query(
        "update connector_state state set next_due_at = due.next, missed_ticks = missed_ticks + due.missed
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as due(connector_id, next, missed)
         where state.connector_id = due.connector_id",
    )
    .bind(ticks.iter().map(|tick| tick.connector_id).collect::<Vec<_>>())
    .bind(ticks.iter().map(|tick| tick.next_due_at).collect::<Vec<_>>())
    .bind(ticks.iter().map(|tick| tick.missed_ticks).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Schedules a full sync of every active connector of a type, `spacing` seconds apart, or less apart so that
/// the last one is due within `within` seconds; returns how many.
pub(crate) async fn schedule_full_syncs(
    db: impl PgExecutor<'_>,
    connector_type: &str,
    spacing: f64,
    within: f64,
) -> sqlx::Result<u64> {
    let scheduled = sqlx::query(
        "with active as (
             select id, row_number() over (order by id) - 1 as place, count(*) over () as total
             from connectors where is_active and deleted_at is null and connector_type = $1)
         update connector_state state
         set full_sync_at = now() + make_interval(secs => active.place * least($2, $3 / active.total))
         from active where state.connector_id = active.id",
    )
    .bind(connector_type)
    .bind(spacing)
    .bind(within)
    .execute(db)
    .await?;
    Ok(scheduled.rows_affected())
}

/// Takes scheduled full syncs that are due, each as space and connector.
pub(crate) async fn take_due_full_syncs(
    db: impl PgExecutor<'_>,
    limit: i64,
) -> sqlx::Result<Vec<(SpaceId, ConnectorId)>> {
    sqlx::query_as(
        "with due as (
             select state.connector_id, c.space_id from connector_state state
             join connectors c on c.id = state.connector_id
             where state.full_sync_at <= now() and c.is_active and c.deleted_at is null
             order by state.full_sync_at limit $1 for update of state skip locked)
         update connector_state state set full_sync_at = null from due
         where state.connector_id = due.connector_id returning due.space_id, due.connector_id",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}
