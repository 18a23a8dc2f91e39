//! `syncs`: requested, running and finished syncs. Each change of a manual sync, and the end of any other
//! sync that failed or found changes, puts an event into the outbox in the same transaction.

use chrono::{DateTime, Utc};
use contract::events::SyncReport;
use contract::ids::{ConnectorId, SyncId};
use contract::state::SyncStatus;
use platform::sync_queue::enqueue_sync_events;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};

/// How many syncs of a connector are started at once.
pub(crate) const MAX_STARTED: i64 = 500;

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

/// Starts the oldest open syncs of a connector, up to `limit`.
pub(crate) async fn start_open(
    db: &mut PgConnection,
    connector: ConnectorId,
    limit: i64,
) -> sqlx::Result<Vec<StartedSync>> {
    sqlx::query_as(
        "update syncs set status = 'running', started_at = now(), attempts = attempts + 1,
             accepted_at = coalesce(accepted_at, now()), version = nextval('observation_version')
         where id in (
             select s.id from sync_queue q join syncs s on s.id = q.sync_id
             where q.connector_id = $1 and s.status in ('queued', 'running')
               and (q.accepted_at is not null or q.requested_at < now() - interval '1 minute')
             order by q.requested_at, q.sync_id limit $2 for update of s)
         returning id, trigger = 'manual' as is_manual, \"full\", accept_mass_deletion,
             greatest(requested_at, asked_at) as requested_at, attempts, traceparent,
             case when attempts = 1 then extract(epoch from clock_timestamp() - tick_at)::float8 end
                 as lateness_seconds",
    )
    .bind(connector)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Starts the queued syncs that a poll which began at this time completes, up to `limit`: those that ask for
/// no history. Returns the lateness in seconds of those that a schedule enqueued.
pub(crate) async fn start_polled(
    db: &mut PgConnection,
    connector: ConnectorId,
    poll_began_at: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(SyncId, Option<f64>)>> {
    sqlx::query_as(
        "update syncs set status = 'running', started_at = $2, attempts = attempts + 1
         where id in (
             select s.id from sync_queue q join syncs s on s.id = q.sync_id
             where q.connector_id = $1 and q.accepted_at is not null and s.status = 'queued'
               and not s.\"full\" and greatest(s.requested_at, s.asked_at) <= $2
             order by q.requested_at, q.sync_id limit $3 for update of s)
         returning id, extract(epoch from $2 - tick_at)::float8",
    )
    .bind(connector)
    .bind(poll_began_at)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Stores the report of running syncs, and returns whether any still runs: the API ends those that are
/// cancelled.
pub(crate) async fn update_report(
    db: impl PgExecutor<'_>,
    syncs: &[SyncId],
    report: &SyncReport,
) -> sqlx::Result<bool> {
    let stored = sqlx::query("update syncs set report = $2 where id = any($1) and status = 'running'")
        .bind(syncs)
        .bind(Json(report))
        .execute(db)
        .await?;
    Ok(stored.rows_affected() > 0)
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
             version = nextval('observation_version') where id = any($1) and status = 'running'
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

/// Accepts a sync that its sender has inserted.
pub(crate) async fn accept(db: impl PgExecutor<'_>, sync: SyncId) -> sqlx::Result<()> {
    let query = sqlx::query("update syncs set accepted_at = now() where id = $1 and accepted_at is null");
    query.bind(sync).execute(db).await.map(drop)
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
