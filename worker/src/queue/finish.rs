//! Finishing a sync: success, or failure with its reason. `runner` calls it after `sync_connector`, which has
//! waited for the read model.

use contract::ids::SyncId;
use provider::ProviderError;
use sqlx::PgPool;

use crate::store::connector_state::{self, Failure, Lease};
use crate::store::syncs;
use crate::sync::{SyncError, SyncJob, SyncOutcome, SyncProgress};

/// The maximum length of the reason of a failed sync, in characters. The provider's message in it has a limit
/// of its own.
const MAX_ERROR_LENGTH: usize = 1_000;

/// Finishes the syncs of a successful job, and moves the cursors.
pub async fn succeed(pool: &PgPool, job: &SyncJob, synced: &SyncOutcome) -> Result<(), SyncError> {
    let mut tx = pool.begin().await?;
    let (cursor, began_at) = (synced.last_poll.cursors.earliest(), synced.last_poll.began_at);
    if !connector_state::update_after_success(&mut tx, job.lease, cursor, began_at).await? {
        return Err(SyncError::LeaseLost);
    }
    syncs::finish(&mut tx, &job.syncs, None, &synced.report).await?;
    Ok(tx.commit().await?)
}

/// Finishes failed syncs: the cursor stays where the sync last moved it, and the reason is stored. Syncs that
/// were stopped, or whose lease could not be renewed, are requeued; cancelled ones have ended already. Until
/// the read model contains what was published, no other sync is scheduled. After a lost lease nothing
/// changes, because the syncs belong to the new holder of the lease.
pub async fn fail(
    pool: &PgPool,
    lease: Lease,
    syncs: &[SyncId],
    error: &SyncError,
    progress: &SyncProgress,
) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    let is_requeued = matches!(error, SyncError::Stopped | SyncError::DatabaseUnresponsive { .. });
    let failure = Failure {
        credentials_refused: matches!(error, SyncError::Provider(ProviderError::CredentialsRefused { .. })),
        // A sync that needs an operator has read everything else.
        counts: !is_requeued && !error.needs_operator() && !matches!(error, SyncError::Cancelled),
        retry_after: error.retry_after().as_secs_f64(),
    };
    if !connector_state::update_after_failure(&mut tx, lease, &failure).await? {
        return Ok(());
    }
    connector_state::store_published(&mut *tx, lease, &progress.published).await?;
    if is_requeued {
        syncs::requeue(&mut tx, syncs).await?;
    } else {
        let error: String = error.to_string().chars().take(MAX_ERROR_LENGTH).collect();
        syncs::finish(&mut tx, syncs, Some(&error), &progress.report).await?;
    }
    tx.commit().await
}
