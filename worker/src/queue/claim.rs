//! Claiming: once a runner has leased a connector, its open syncs are started and become one job.

use chrono::TimeDelta;
use contract::ids::SyncId;
use platform::secrets::Keyring;
use platform::stored_connector::open_stored_connector;
use platform::sync_queue::enqueue_sync_events;
use provider::connector::{ConnectorConfig, ConnectorType, Secrets};
use sqlx::PgConnection;
use tracing::Span;
use tracing::field::Empty;

use crate::metrics::record_schedule_lateness;
use crate::store::connector_state::{self, Lease};
use crate::store::connectors::{self, SyncSettings};
use crate::store::syncs::{self, StartedSync};
use crate::sync::{SyncBudget, SyncError, SyncJob};

/// How often a sync is started before it fails as exhausted.
const MAX_ATTEMPTS: i32 = 5;

/// A lease with the syncs that were started under it, and their job; an error when the connector's settings
/// cannot be used.
pub struct ClaimedJob {
    pub lease: Lease,
    pub syncs: Vec<SyncId>,
    pub job: Result<SyncJob, SyncError>,
}

impl ClaimedJob {
    /// A log span with the ids of connector, space and syncs.
    pub fn span(&self) -> Span {
        let sync_ids = self.syncs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let space = self.job.as_ref().ok().map(|job| job.space.as_str());
        let connector_id = self.lease.connector_id;
        // At this level the ids are part of every line, whatever is logged.
        tracing::error_span!("sync", %connector_id, space, sync_ids, trace_id = Empty)
    }
}

/// Starts the open syncs of the leased connector, the oldest ones if there are many: the others wait for the
/// next claim. None when the lease was lost, or all of them have exhausted their attempts.
pub async fn claim(
    db: &mut PgConnection,
    lease: Lease,
    keyring: &Keyring,
    overlap: TimeDelta,
) -> sqlx::Result<Option<ClaimedJob>> {
    if !connector_state::renew(&mut *db, lease).await? {
        return Ok(None);
    }
    let started = syncs::start_open(&mut *db, lease.connector_id, syncs::MAX_STARTED).await?;
    let (started, exhausted): (Vec<_>, Vec<_>) =
        started.into_iter().partition(|sync| sync.attempts <= MAX_ATTEMPTS);
    syncs::fail_exhausted(db, &ids(&exhausted)).await?;
    enqueue_sync_events(db, &ids(started.iter().filter(|sync| sync.is_manual))).await?;
    if started.is_empty() {
        connector_state::release(db, lease).await?;
        return Ok(None);
    }
    started.iter().filter_map(|sync| sync.lateness_seconds).for_each(record_schedule_lateness);
    let settings = connectors::find_sync_settings(db, lease.connector_id).await?.ok_or(SyncError::Deleted);
    let job = settings.and_then(|settings| build_job(lease, &started, settings, keyring, overlap));
    Ok(Some(ClaimedJob { lease, syncs: ids(&started), job }))
}

fn build_job(
    lease: Lease,
    started: &[StartedSync],
    mut settings: SyncSettings,
    keyring: &Keyring,
    overlap: TimeDelta,
) -> Result<SyncJob, SyncError> {
    let (config, secrets) = open_settings(lease, &settings, keyring)?;
    let (cursors, published) = (settings.cursors(), settings.take_published());
    let full_syncs = || started.iter().filter(|sync| sync.full);
    Ok(SyncJob {
        lease,
        space: settings.space,
        config,
        secrets,
        cursors,
        overlap,
        confirmed_at: settings.confirmed_at,
        published,
        syncs: ids(started),
        full_since: full_syncs().map(|sync| sync.requested_at).max(),
        accept_mass_deletion: full_syncs().any(|sync| sync.accept_mass_deletion),
        budget: SyncBudget::default(),
        trace: started.iter().find_map(|sync| sync.traceparent.as_deref()?.parse().ok()),
    })
}

fn open_settings(
    lease: Lease,
    settings: &SyncSettings,
    keyring: &Keyring,
) -> Result<(ConnectorConfig, Secrets), SyncError> {
    if settings.connector_type != ConnectorType::Airflow {
        return Err(SyncError::UnsupportedType);
    }
    let (config, sealed) = (settings.config.0.clone(), settings.credentials_sealed.as_deref());
    Ok(open_stored_connector(lease.connector_id, config, sealed, keyring)?)
}

fn ids<'a>(started: impl IntoIterator<Item = &'a StartedSync>) -> Vec<SyncId> {
    started.into_iter().map(|sync| sync.id).collect()
}
