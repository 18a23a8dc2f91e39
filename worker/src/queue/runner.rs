//! Runners: each claims jobs under a lease and finishes them, as succeeded, failed with a reason, or
//! requeued.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::TimeDelta;
use contract::events::SyncReport;
use contract::ids::ConnectorId;
use platform::health::Heartbeat;
use platform::kafka::Producer;
use platform::secrets::Keyring;
use platform::trace;
use provider::{NetworkPolicy, ProviderError};
use sqlx::PgPool;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::claim::{self, ClaimedJob};
use super::finish;
use super::open_providers::OpenProviders;
use crate::metrics::record_sync_duration;
use crate::store::connector_state::{self, LEASE_SECONDS, Lease};
use crate::store::syncs;
use crate::sync::{SyncError, SyncJob, SyncOutcome, SyncPhase, SyncProgress, sync_connector};

const LEASE_DURATION: Duration = Duration::from_secs(LEASE_SECONDS as u64);
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const ERROR_BACKOFF: Duration = Duration::from_secs(2);
/// The pause before Kafka is probed again after repeated failures; no sync is claimed during it.
const KAFKA_BACKOFF: Duration = Duration::from_secs(5);
/// A sync without progress for this long releases its permit: its provider is slow, or does not respond.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of histories that this process reads at once.
pub const MAX_HISTORIES: usize = 64;
/// The maximum number of open syncs for each permit, including idle ones.
const MAX_OPEN_PER_PERMIT: usize = 8;

/// Claims jobs and runs them. Clones share the connections and the open providers.
#[derive(Clone)]
pub struct Runner {
    pub pool: PgPool,
    /// Connections for leases and the ends of jobs, which the syncs cannot use up.
    pub control: PgPool,
    pub producer: Producer,
    pub keyring: Keyring,
    pub network: NetworkPolicy,
    /// How far before its cursor a poll looks for changes.
    pub overlap: TimeDelta,
    /// Names this process in leases.
    pub owner: Arc<str>,
    pub(crate) providers: Arc<OpenProviders>,
    /// The histories that this process reads at once.
    pub history_permits: Arc<Semaphore>,
    /// Notified when this process has enqueued a sync, so that it is claimed before the next poll of the
    /// queue.
    pub job_ready: Arc<Notify>,
    pub stop: CancellationToken,
}

/// How a job ended; none when all of its syncs had exhausted their attempts.
type JobOutcome = Option<Result<SyncOutcome, SyncError>>;

impl Runner {
    /// Claims and runs jobs until stopped, `concurrency` at a time, and waits for the open ones. Jobs whose
    /// provider does not respond do not count.
    pub async fn run(self, concurrency: usize, heartbeat: Heartbeat) {
        let permits = Arc::new(Semaphore::new(concurrency));
        let open_permits = Arc::new(Semaphore::new(concurrency * MAX_OPEN_PER_PERMIT));
        let running = TaskTracker::new();
        while let (Some(open_permit), Some(permit)) =
            (self.acquire(&open_permits, &heartbeat).await, self.acquire(&permits, &heartbeat).await)
        {
            heartbeat.record();
            let pause = match self.lease_if_kafka_responds().await {
                Ok(Some(lease)) => {
                    running.spawn(self.clone().run_with_permit(lease, permit, permits.clone(), open_permit));
                    continue;
                }
                Ok(None) => POLL_INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, "claim failed");
                    ERROR_BACKOFF
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.job_ready.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
        running.close();
        running.wait().await;
    }

    /// Runs the job of a lease. Its permit is released while it makes no progress.
    async fn run_with_permit(
        self,
        lease: Lease,
        permit: OwnedSemaphorePermit,
        permits: Arc<Semaphore>,
        _open_permit: OwnedSemaphorePermit,
    ) {
        let progress = watch::Sender::default();
        tokio::select! {
            // The outcome of the sync is logged and stored already.
            outcome = self.run_leased(lease, &progress) => {
                if let Err(error) = outcome {
                    // It is claimed again when its lease expires.
                    tracing::warn!(%error, "job failed");
                }
            }
            () = release_while_idle(permit, permits, progress.subscribe()) => {}
        }
    }

    /// Waits for a permit, which may take as long as all open syncs.
    async fn acquire(&self, permits: &Arc<Semaphore>, heartbeat: &Heartbeat) -> Option<OwnedSemaphorePermit> {
        let permit = permits.clone().acquire_owned();
        tokio::pin!(permit);
        loop {
            heartbeat.record();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                permit = &mut permit => return permit.ok(),
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Runs the oldest open job, of one connector or of any; none when the queue is empty.
    ///
    /// # Errors
    /// Only errors of PostgreSQL. An error of the sync is in the returned outcome.
    pub async fn run_next(
        &self,
        only: Option<ConnectorId>,
        progress: &watch::Sender<SyncProgress>,
    ) -> sqlx::Result<JobOutcome> {
        match self.lease(only).await? {
            Some(lease) => self.run_leased(lease, progress).await,
            None => Ok(None),
        }
    }

    async fn lease(&self, only: Option<ConnectorId>) -> sqlx::Result<Option<Lease>> {
        connector_state::lease(&self.control, &self.owner, only).await
    }

    /// Leases nothing while the last batches to Kafka have all failed: this process would fail the syncs that
    /// another worker can finish. Once Kafka responds, a single further failure has the same effect.
    async fn lease_if_kafka_responds(&self) -> sqlx::Result<Option<Lease>> {
        if self.producer.is_failing() {
            tokio::select! {
                () = tokio::time::sleep(KAFKA_BACKOFF) => {}
                () = self.stop.cancelled() => return Ok(None),
            }
            if !self.producer.is_reachable().await {
                tracing::warn!("no sync is claimed: Kafka does not answer");
                return Ok(None);
            }
            self.producer.permit_attempt();
        }
        self.lease(None).await
    }

    async fn run_leased(
        &self,
        lease: Lease,
        progress: &watch::Sender<SyncProgress>,
    ) -> sqlx::Result<JobOutcome> {
        let mut tx = self.control.begin().await?;
        let claimed = claim::claim(&mut tx, lease, &self.keyring, self.overlap).await?;
        tx.commit().await?;
        match claimed {
            Some(claimed) => Ok(Some(self.run_claimed(claimed, progress).await)),
            None => Ok(None),
        }
    }

    /// Runs a claimed job as a span of the trace of its request.
    async fn run_claimed(
        &self,
        claimed: ClaimedJob,
        progress: &watch::Sender<SyncProgress>,
    ) -> Result<SyncOutcome, SyncError> {
        let span = claimed.span();
        let trace = trace::start(&span, claimed.job.as_ref().ok().and_then(|job| job.trace));
        // A sync is a large future: on the heap it does not pass through the stack frames of all callers.
        let sync = Box::pin(self.run_and_finish(claimed, progress));
        trace::scope(Some(trace), sync).instrument(span).await
    }

    /// Runs a job and stores a failure, with retries: PostgreSQL may be down at this moment.
    async fn run_and_finish(
        &self,
        claimed: ClaimedJob,
        progress: &watch::Sender<SyncProgress>,
    ) -> Result<SyncOutcome, SyncError> {
        let ClaimedJob { lease, syncs, job } = claimed;
        let started = Instant::now();
        let outcome = match job {
            Ok(job) => self.run_job(&job, progress).await,
            Err(error) => Err(error),
        };
        let progress = progress.borrow().clone();
        log_outcome(&outcome, started.elapsed());
        if let Err(error) = &outcome {
            let fail = || finish::fail(&self.control, lease, &syncs, error, &progress);
            if let Err(error) = fail.retry(ExponentialBuilder::default().with_max_times(5)).await {
                tracing::warn!(%error, "sync failure not stored; the sync is started again later");
            }
        }
        outcome
    }

    async fn run_job(
        &self,
        job: &SyncJob,
        progress: &watch::Sender<SyncProgress>,
    ) -> Result<SyncOutcome, SyncError> {
        let provider = self.providers.open(job, &self.network)?;
        let synced = tokio::select! {
            synced = sync_connector(
                &self.pool, &self.producer, job, provider.as_ref(), progress, &self.history_permits) => {
                synced.inspect_err(|error| self.close_unless_transient(job, error))?
            }
            lost = self.hold_lease(job, progress) => return Err(lost),
            () = self.stop.cancelled() => return Err(SyncError::Stopped),
        };
        finish::succeed(&self.control, job, &synced).await?;
        Ok(synced)
    }

    /// Closes the provider when it may have become another one, such as a later version.
    fn close_unless_transient(&self, job: &SyncJob, error: &SyncError) {
        let is_lasting = match error {
            SyncError::Provider(error) => !error.is_transient(),
            SyncError::UnreadList { error, .. } => {
                matches!(error, ProviderError::Refused { .. } | ProviderError::Malformed { .. })
            }
            _ => false,
        };
        if is_lasting {
            self.providers.close(job.lease.connector_id);
        }
    }

    /// Renews the lease and stores the report until the lease is lost or the syncs are cancelled. A database
    /// that is down for less than the duration of a lease does not end a sync; after that another worker may
    /// have the lease.
    async fn hold_lease(&self, job: &SyncJob, progress: &watch::Sender<SyncProgress>) -> SyncError {
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            let (progress, requested_at) = (progress.borrow().clone(), Instant::now());
            let remaining = LEASE_DURATION.saturating_sub(renewed_at.elapsed());
            match tokio::time::timeout(remaining, self.renew(job, &progress)).await {
                Ok(Ok(None)) => renewed_at = requested_at,
                Ok(Ok(Some(end))) => return end,
                Ok(Err(error)) => tracing::warn!(%error, "lease renewal failed"),
                Err(_) => tracing::warn!("lease renewal failed: PostgreSQL does not answer"),
            }
            if renewed_at.elapsed() >= LEASE_DURATION {
                return SyncError::DatabaseUnresponsive { seconds: renewed_at.elapsed().as_secs() };
            }
        }
    }

    /// Renews the lease, and stores the report and what was published; returns the reason why the job must
    /// end, if there is one.
    async fn renew(&self, job: &SyncJob, progress: &SyncProgress) -> sqlx::Result<Option<SyncError>> {
        if !connector_state::renew(&self.control, job.lease).await? {
            return Ok(Some(SyncError::LeaseLost));
        }
        // If this process is killed, the next poll waits for what was published.
        connector_state::store_published(&self.control, job.lease, &progress.published).await?;
        let is_running = syncs::update_report(&self.control, &job.syncs, &progress.report).await?;
        Ok((!is_running).then_some(SyncError::Cancelled))
    }
}

/// Releases the permit of a job while it makes no progress, and acquires one again, if one is free, when it
/// makes progress. A job that reads histories has released it: histories have permits of their own, so that
/// long ones do not delay the polls of other connectors.
async fn release_while_idle(
    permit: OwnedSemaphorePermit,
    permits: Arc<Semaphore>,
    mut progress: watch::Receiver<SyncProgress>,
) {
    let mut permit = Some(permit);
    loop {
        match tokio::time::timeout(IDLE_TIMEOUT, progress.changed()).await {
            Err(_) => drop(permit.take()),
            Ok(Ok(())) if progress.borrow_and_update().phase == SyncPhase::Histories => drop(permit.take()),
            Ok(Ok(())) if permit.is_none() => permit = permits.clone().try_acquire_owned().ok(),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
        }
    }
}

fn log_outcome(outcome: &Result<SyncOutcome, SyncError>, duration: Duration) {
    let seconds = duration.as_secs_f64();
    let label = match outcome {
        Ok(SyncOutcome { report, .. }) if report.events_published > 0 => {
            let SyncReport { requests, runs_seen, task_runs_seen, events_published, .. } = report;
            tracing::info!(seconds, requests, runs_seen, task_runs_seen, events_published, "sync succeeded");
            "succeeded"
        }
        Ok(SyncOutcome { report, .. }) => {
            tracing::debug!(seconds, requests = report.requests, "sync succeeded without changes");
            "succeeded"
        }
        Err(SyncError::Cancelled) => {
            tracing::info!(seconds, "sync cancelled");
            "cancelled"
        }
        Err(error @ (SyncError::Stopped | SyncError::DatabaseUnresponsive { .. } | SyncError::LeaseLost)) => {
            tracing::info!(seconds, %error, "sync left to another worker");
            "left"
        }
        Err(error) => {
            tracing::warn!(seconds, %error, "sync failed");
            "failed"
        }
    };
    record_sync_duration(label, seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_reads_histories_holds_no_permit_of_polls() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = permits.clone().acquire_owned().await.unwrap();
        let progress = watch::Sender::new(SyncProgress::default());
        tokio::spawn(release_while_idle(permit, permits.clone(), progress.subscribe()));
        let work = async {
            loop {
                progress.send_modify(|progress| progress.phase = SyncPhase::Histories);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = work => {}
            permit = tokio::time::timeout(Duration::from_secs(30), permits.acquire()) => {
                drop(permit.expect("the permit is released").unwrap());
            }
        }
    }
}
