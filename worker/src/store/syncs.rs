//! `syncs`: requested, running and finished syncs. What became of a manual sync, and of any other that is of
//! interest, goes into the outbox with the statement that changes it.

use chrono::{DateTime, Utc};
use contract::events::{SyncReport, SyncRequested};
use contract::ids::{ConnectorId, SpaceId, SyncId};
use contract::state::SyncStatus;
use platform::syncs::enqueue_sync_events;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A sync that was claimed with its connector's lease.
#[derive(sqlx::FromRow)]
pub(crate) struct StartedSync {
    pub id: SyncId,
    /// True for manual syncs. Other syncs emit an event only when they finish and have found something.
    pub is_manual: bool,
    pub full: bool,
    pub accept_mass_deletion: bool,
    /// When the latest request that it completes was made.
    pub requested_at: DateTime<Utc>,
    pub attempts: i32,
    pub traceparent: Option<String>,
    /// How long after its tick it starts, in seconds; none unless a schedule enqueued it and this is its
    /// first attempt.
    pub lateness_seconds: Option<f64>,
}

/// Starts every open sync of a connector.
pub(crate) async fn start_open(
    db: &mut PgConnection,
    connector: ConnectorId,
) -> sqlx::Result<Vec<StartedSync>> {
    sqlx::query_as(
        "update syncs set status = 'running', started_at = now(), attempts = attempts + 1,
             accepted_at = coalesce(accepted_at, now()), version = nextval('observation_version')
         where connector_id = $1 and status in ('queued', 'running')
           and (accepted_at is not null or requested_at < now() - interval '1 minute')
         returning id, trigger = 'manual' as is_manual, \"full\", accept_mass_deletion,
             greatest(requested_at, asked_at) as requested_at, attempts, traceparent,
             case when attempts = 1 then extract(epoch from clock_timestamp() - tick_at)::float8 end
                 as lateness_seconds",
    )
    .bind(connector)
    .fetch_all(db)
    .await
}

/// Starts the queued syncs that a poll which began at this time completes: those that ask for no history.
/// Returns the lateness in seconds of those that a schedule enqueued.
pub(crate) async fn start_polled(
    db: &mut PgConnection,
    connector: ConnectorId,
    poll_began_at: DateTime<Utc>,
) -> sqlx::Result<Vec<(SyncId, Option<f64>)>> {
    sqlx::query_as(
        "update syncs set status = 'running', started_at = $2, attempts = attempts + 1
         where connector_id = $1 and status = 'queued' and not \"full\"
           and accepted_at is not null and greatest(requested_at, asked_at) <= $2
         returning id, extract(epoch from $2 - tick_at)::float8",
    )
    .bind(connector)
    .bind(poll_began_at)
    .fetch_all(db)
    .await
}

/// Stores the report of running syncs.
pub(crate) async fn update_report(
    db: impl PgExecutor<'_>,
    syncs: &[SyncId],
    report: &SyncReport,
) -> sqlx::Result<()> {
    sqlx::query("update syncs set report = $2 where id = any($1) and status = 'running'")
        .bind(syncs)
        .bind(Json(report))
        .execute(db)
        .await?;
    Ok(())
}

/// Finishes running syncs, as failed when there is an error. Those that are manual, failed, found changes or
/// follow a failed one emit an event.
pub(crate) async fn finish(
    db: &mut PgConnection,
    syncs: &[SyncId],
    error: Option<&str>,
    report: &SyncReport,
) -> sqlx::Result<()> {
    let emitting: Vec<Option<SyncId>> = sqlx::query_scalar(
        "update syncs s set status = case when $2::text is null then 'succeeded' else 'failed' end,
             finished_at = clock_timestamp(), error = $2, report = $3,
             version = nextval('observation_version')
         where id = any($1) and status = 'running'
         returning case when trigger = 'manual' or $2 is not null or $4 or (
             select before.status = 'failed' from syncs before
             where before.connector_id = s.connector_id and before.status in ('succeeded', 'failed')
             order by before.requested_at desc limit 1) then id end",
    )
    .bind(syncs)
    .bind(error)
    .bind(Json(report))
    .bind(report.events_published > 0)
    .fetch_all(&mut *db)
    .await?;
    enqueue_sync_events(db, &Vec::from_iter(emitting.into_iter().flatten())).await
}

/// Puts running syncs back into the queue, without counting the attempt.
pub(crate) async fn requeue(db: &mut PgConnection, syncs: &[SyncId]) -> sqlx::Result<()> {
    let manual: Vec<Option<SyncId>> = sqlx::query_scalar(
        "update syncs set status = 'queued', started_at = null, attempts = attempts - 1,
             version = nextval('observation_version') where id = any($1)
         returning case when trigger = 'manual' then id end",
    )
    .bind(syncs)
    .fetch_all(&mut *db)
    .await?;
    enqueue_sync_events(db, &Vec::from_iter(manual.into_iter().flatten())).await
}

/// Fails syncs that were attempted too often.
pub(crate) async fn fail_exhausted(db: &mut PgConnection, syncs: &[SyncId]) -> sqlx::Result<()> {
    if syncs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update syncs set status = 'failed', finished_at = now(), version = nextval('observation_version'),
             error = 'The worker stopped in the middle of this sync five times; look at its log and memory.'
         where id = any($1)",
    )
    .bind(syncs)
    .execute(&mut *db)
    .await?;
    enqueue_sync_events(db, syncs).await
}

/// A sync that a schedule enqueues.
pub(crate) struct ScheduledSync {
    pub id: Uuid,
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub tick_at: DateTime<Utc>,
}

/// Enqueues scheduled syncs.
pub(crate) async fn insert_scheduled(db: &mut PgConnection, syncs: &[ScheduledSync]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at, tick_at)
         select id, space_id, connector_id, 'queued', 'schedule', now(), now(), tick_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])
             as made(id, space_id, connector_id, tick_at)
         on conflict do nothing",
    )
    .bind(syncs.iter().map(|sync| sync.id).collect::<Vec<_>>())
    .bind(syncs.iter().map(|sync| sync.space_id).collect::<Vec<_>>())
    .bind(syncs.iter().map(|sync| sync.connector_id).collect::<Vec<_>>())
    .bind(syncs.iter().map(|sync| sync.tick_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Enqueues a sync for each idle connector with an unfinished run that was triggered through the API; returns
/// how many.
///
/// `max_age` of the trigger and `min_interval` since the last poll are PostgreSQL intervals. The interval
/// grows with the age of the trigger, which is divided by `age_divisor`.
pub(crate) async fn insert_follow_ups(
    db: impl PgExecutor<'_>,
    max_age: &str,
    min_interval: &str,
    age_divisor: f64,
) -> sqlx::Result<u64> {
    let inserted = sqlx::query(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at)
         select gen_random_uuid(), c.space_id, c.id, 'queued', 'trigger', now(), now()
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null and state.credentials_refused_at is null
           and (state.retry_at is null or state.retry_at <= now())
           and not exists (
               select from syncs s where s.connector_id = c.id and s.status in ('queued', 'running'))
           and exists (
               select from runs r join triggers t on t.run_id = r.id
               where r.connector_id = c.id and r.status in ('queued', 'running', 'unknown')
                 and r.deleted_at is null and r.triggered_by_id is not null
                 and t.created_at > now() - $1::interval
                 and coalesce(state.confirmed_at, '-infinity')
                     < now() - greatest($2::interval, (now() - greatest(t.created_at, t.sent_at)) / $3))",
    )
    .bind(max_age)
    .bind(min_interval)
    .bind(age_divisor)
    .execute(db)
    .await?;
    Ok(inserted.rows_affected())
}

/// Accepts a sync request: inserts its sync, or marks the one that its sender inserted as accepted. Returns
/// the space of the connector and whether the sync is new; none when the request was accepted before.
pub(crate) async fn accept_request(
    db: &mut PgConnection,
    request: &SyncRequested,
    traceparent: &str,
) -> sqlx::Result<Option<(SpaceId, bool)>> {
    sqlx::query_as(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, asked_at, accepted_at, traceparent)
           select $1, space_id, id, 'queued', 'manual', $3, $4, least($5, now()), now(), now(), $6
           from connectors where id = $2
           on conflict (id) do update set accepted_at = now() where syncs.accepted_at is null
           returning space_id, xmax = 0"#,
    )
    .bind(request.id)
    .bind(request.connector_id)
    .bind(request.full)
    .bind(request.accept_mass_deletion)
    .bind(request.observed_at)
    .bind(traceparent)
    .fetch_optional(db)
    .await
}

/// A sync that the command line enqueues, already accepted, because it does not go through Kafka.
pub(crate) struct ManualSync {
    pub id: SyncId,
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub full: bool,
    pub accept_mass_deletion: bool,
}

/// Enqueues a manual sync.
pub(crate) async fn insert_manual(db: &mut PgConnection, sync: &ManualSync) -> sqlx::Result<()> {
    sqlx::query(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, accepted_at)
           values ($1, $2, $3, 'queued', 'manual', $4, $5, now(), now())"#,
    )
    .bind(sync.id)
    .bind(sync.space_id)
    .bind(sync.connector_id)
    .bind(sync.full)
    .bind(sync.accept_mass_deletion)
    .execute(db)
    .await?;
    Ok(())
}

/// The state of a sync, for its observers.
#[derive(sqlx::FromRow)]
pub(crate) struct SyncState {
    pub status: SyncStatus,
    pub error: Option<String>,
    pub report: Json<SyncReport>,
}

/// Finds the state of a sync.
pub(crate) async fn find_state(db: impl PgExecutor<'_>, id: SyncId) -> sqlx::Result<SyncState> {
    sqlx::query_as("select status, error, report from syncs where id = $1").bind(id).fetch_one(db).await
}
