//! Jobs: what waits to be synced, who has it, and how it ended. A connector is leased to one runner at a time; each
//! lease has a higher epoch than the one before, and whoever lost it can move nothing any more.

mod ending;
mod progress;
mod taking;

use chrono::{DateTime, Utc};
use contract::events::{Source, SyncReport};
use contract::ids::{ConnectorId, SyncId};
use contract::trace::TraceContext;
pub use ending::{fail, serve, succeed};
pub use progress::{forget_crawls, move_cursor, note_crawl};
use provider::connector::{ConnectorConfig, Secrets};
use sqlx::PgPool;
use sqlx::types::Json;
pub use taking::{Taken, take};

/// How long a lease holds without being renewed.
pub const LEASE_SECONDS: f64 = 15.0;

/// A leased connector and the syncs that one pass over it will serve.
#[derive(Clone, Debug)]
pub struct Job {
    pub connector_id: ConnectorId,
    pub space: String,
    pub config: ConnectorConfig,
    pub secrets: Secrets,
    pub cursor_at: Option<DateTime<Utc>>,
    /// When the last complete sync began, by our clock.
    pub confirmed_at: Option<DateTime<Utc>>,
    pub epoch: i64,
    pub syncs: Vec<SyncId>,
    /// When the latest of the full syncs among them was asked for: every history must have been read since.
    pub full_since: Option<DateTime<Utc>>,
    /// Whether one of the full ones may pass the brake.
    pub accept_mass_deletion: bool,
    /// What led to the first of them that somebody asked for.
    pub trace: Option<TraceContext>,
}

impl Job {
    /// Whose events it will publish.
    pub fn source(&self) -> Source {
        Source { space: self.space.clone(), connector_id: self.connector_id }
    }
}

/// A lease that was taken, before the connector's settings were read.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Lease {
    pub connector_id: ConnectorId,
    #[sqlx(rename = "lease_epoch")]
    pub epoch: i64,
}

/// Takes the connector whose request waits longest. A sync that a stopped worker left behind counts as waiting, and so
/// does a request that has not come back from Kafka within a minute: it is written down here, so it is never lost.
pub async fn lease(
    pool: &PgPool,
    owner: &str,
    only: Option<ConnectorId>,
) -> Result<Option<Lease>, sqlx::Error> {
    sqlx::query_as(
        "update connector_state set lease_owner = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + make_interval(secs => $2)
         where connector_id = (
             select state.connector_id from syncs s
             join connector_state state using (connector_id)
             where s.status in ('queued', 'running')
               and (s.accepted_at is not null or s.requested_at < now() - interval '1 minute')
               and (state.lease_until is null or state.lease_until < now())
               and ($3::uuid is null or state.connector_id = $3)
             order by s.requested_at limit 1
             for update of state skip locked)
         returning connector_id, lease_epoch",
    )
    .bind(owner)
    .bind(LEASE_SECONDS)
    .bind(only)
    .fetch_optional(pool)
    .await
}

/// Holds the lease for longer and shows the report so far; false when the lease is lost.
pub async fn renew(pool: &PgPool, job: &Job, report: &SyncReport) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "update connector_state set lease_until = clock_timestamp() + make_interval(secs => $3)
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(LEASE_SECONDS)
    .execute(pool)
    .await?;
    sqlx::query("update syncs set report = $2 where id = any($1) and status = 'running'")
        .bind(&job.syncs)
        .bind(Json(report))
        .execute(pool)
        .await?;
    Ok(renewed.rows_affected() == 1)
}

/// How long after their ticks scheduled syncs begin.
fn note_lateness(seconds: impl Iterator<Item = f64>) {
    for late in seconds {
        metrics::histogram!("orchestration_schedule_lateness_seconds").record(late);
    }
}
