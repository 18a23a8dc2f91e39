//! What a lease begins with: the syncs that wait for its connector, and the connector's settings.

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, SyncId};
use platform::secrets::Keyring;
use platform::stored_connector::open_stored_connector;
use platform::syncs::enqueue_sync_events;
use provider::connector::{AIRFLOW, ConnectorConfig, Secrets};
use sqlx::PgConnection;
use sqlx::types::Json;
use tracing::Span;
use tracing::field::Empty;

use super::ending::give_up;
use super::{Job, Lease, note_lateness};
use crate::sync::SyncError;

/// How often a sync is begun before its request is given up.
const ATTEMPTS: i32 = 5;

/// A lease with the syncs that it serves, and the job that they are; an error when the connector's settings make no sense.
pub struct Taken {
    pub lease: Lease,
    pub syncs: Vec<SyncId>,
    pub job: Result<Job, SyncError>,
}

impl Taken {
    /// With every id that somebody may search the log for.
    pub fn span(&self) -> Span {
        let sync_ids = self.syncs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let space = self.job.as_ref().ok().map(|job| job.space.as_str());
        let connector_id = self.lease.connector_id;
        // At this level the ids stand on every line, whatever is logged.
        tracing::error_span!("sync", %connector_id, space, sync_ids, trace_id = Empty)
    }
}

#[derive(sqlx::FromRow)]
struct Begun {
    id: SyncId,
    /// Whether somebody asked for it. Any other is told of when it ends, if it found anything.
    is_asked: bool,
    full: bool,
    accept_mass_deletion: bool,
    /// When the latest wish that it serves was asked.
    asked_at: DateTime<Utc>,
    attempts: i32,
    traceparent: Option<String>,
    /// How long after its tick it begins, if a schedule made it and this is its first beginning.
    late_seconds: Option<f64>,
}

/// Begins every sync that waits for the leased connector; none when all had been begun too often.
pub async fn take(
    db: &mut PgConnection,
    lease: Lease,
    keyring: &Keyring,
) -> Result<Option<Taken>, sqlx::Error> {
    let begun: Vec<Begun> = sqlx::query_as(
        "update syncs set status = 'running', started_at = now(), attempts = attempts + 1,
             accepted_at = coalesce(accepted_at, now()), version = nextval('observation_version')
         where connector_id = $1 and status in ('queued', 'running')
           and (accepted_at is not null or requested_at < now() - interval '1 minute')
         returning id, trigger = 'manual' as is_asked, \"full\", accept_mass_deletion,
             greatest(requested_at, asked_at) as asked_at, attempts, traceparent,
             case when attempts = 1 then extract(epoch from clock_timestamp() - tick_at)::float8 end as late_seconds",
    )
    .bind(lease.connector_id)
    .fetch_all(&mut *db)
    .await?;
    let (begun, worn_out): (Vec<_>, Vec<_>) = begun.into_iter().partition(|sync| sync.attempts <= ATTEMPTS);
    give_up(db, &ids(&worn_out)).await?;
    enqueue_sync_events(db, &ids(begun.iter().filter(|sync| sync.is_asked))).await?;
    if begun.is_empty() {
        release(db, lease).await?;
        return Ok(None);
    }
    note_lateness(begun.iter().filter_map(|sync| sync.late_seconds));
    let settings = settings(db, lease.connector_id).await?.ok_or(SyncError::Deleted);
    let job = settings.and_then(|settings| {
        let (config, secrets) = settings.open(lease.connector_id, keyring)?;
        Ok(job(lease, &begun, settings, config, secrets))
    });
    Ok(Some(Taken { lease, syncs: ids(&begun), job }))
}

fn job(lease: Lease, begun: &[Begun], settings: Settings, config: ConnectorConfig, secrets: Secrets) -> Job {
    let full = || begun.iter().filter(|sync| sync.full);
    Job {
        connector_id: lease.connector_id,
        space: settings.space,
        config,
        secrets,
        cursor_at: settings.cursor_at,
        confirmed_at: settings.confirmed_at,
        epoch: lease.epoch,
        syncs: ids(begun),
        full_since: full().map(|sync| sync.asked_at).max(),
        accept_mass_deletion: full().any(|sync| sync.accept_mass_deletion),
        trace: begun.iter().find_map(|sync| sync.traceparent.as_deref()?.parse().ok()),
    }
}

fn ids<'a>(begun: impl IntoIterator<Item = &'a Begun>) -> Vec<SyncId> {
    begun.into_iter().map(|sync| sync.id).collect()
}

#[derive(sqlx::FromRow)]
struct Settings {
    space: String,
    connector_type: String,
    config: Json<serde_json::Value>,
    credentials_sealed: Option<Vec<u8>>,
    cursor_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
}

/// None when the connector is gone.
async fn settings(db: &mut PgConnection, connector: ConnectorId) -> Result<Option<Settings>, sqlx::Error> {
    sqlx::query_as(
        "select spaces.slug as space, c.connector_type, c.config, c.credentials_sealed, state.cursor_at,
             state.confirmed_at
         from connectors c join spaces on spaces.id = c.space_id
         join connector_state state on state.connector_id = c.id
         where c.id = $1 and c.deleted_at is null",
    )
    .bind(connector)
    .fetch_optional(db)
    .await
}

impl Settings {
    fn open(
        &self,
        connector: ConnectorId,
        keyring: &Keyring,
    ) -> Result<(ConnectorConfig, Secrets), SyncError> {
        if self.connector_type != AIRFLOW {
            return Err(SyncError::OtherType);
        }
        Ok(open_stored_connector(
            connector,
            self.config.0.clone(),
            self.credentials_sealed.as_deref(),
            keyring,
        )?)
    }
}

async fn release(db: &mut PgConnection, lease: Lease) -> Result<(), sqlx::Error> {
    sqlx::query("update connector_state set lease_until = null where connector_id = $1 and lease_epoch = $2")
        .bind(lease.connector_id)
        .bind(lease.epoch)
        .execute(db)
        .await?;
    Ok(())
}
