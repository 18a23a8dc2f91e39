//! Runners take jobs under a lease and bring each to an end: succeeded, failed with a reason, or back in the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use contract::events::SyncReport;
use contract::ids::ConnectorId;
use platform::kafka::Producer;
use platform::secrets::Keyring;
use platform::trace;
use provider::NetworkPolicy;
use sqlx::PgPool;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::jobs::{self, Job, Lease, Taken};
use super::open_providers::OpenProviders;
use super::{Progress, SyncError, Synced, sync_connector};

const RENEW_EVERY: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const REST_AFTER_ERROR: Duration = Duration::from_secs(2);
/// A sync of which nothing has come for so long lends its place: its source is slow, or does not answer at all.
const SILENCE: Duration = Duration::from_secs(2);
/// So many times as many syncs may be open as there are places.
const OPEN: usize = 8;

/// What every runner works with.
#[derive(Clone)]
pub struct Runner {
    pub pool: PgPool,
    pub producer: Producer,
    pub keyring: Keyring,
    pub network: NetworkPolicy,
    /// Names this process in leases.
    pub owner: Arc<str>,
    pub providers: Arc<OpenProviders>,
    /// Rung when a job was made here, so that nobody waits for the next look.
    pub bell: Arc<Notify>,
    pub stop: CancellationToken,
}

impl Runner {
    /// Takes jobs until stopped, so many at a time, and waits for those under way. Sources that hang do not count.
    pub async fn run(self, at_once: usize) {
        let room = Arc::new(Semaphore::new(at_once));
        let open = Arc::new(Semaphore::new(at_once * OPEN));
        let running = TaskTracker::new();
        while let (Some(ticket), Some(place)) = (self.await_room(&open).await, self.await_room(&room).await) {
            let rest = match self.lease(None).await {
                Ok(Some(lease)) => {
                    running.spawn(self.clone().run_in(lease, place, room.clone(), ticket));
                    continue;
                }
                Ok(None) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "PostgreSQL does not answer; looking for jobs again soon");
                    REST_AFTER_ERROR
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.bell.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
        running.close();
        running.wait().await;
    }

    /// Runs the job of a lease, in a place that is lent while nothing comes of it.
    async fn run_in(
        self,
        lease: Lease,
        place: OwnedSemaphorePermit,
        room: Arc<Semaphore>,
        ticket: OwnedSemaphorePermit,
    ) {
        let progress = watch::Sender::default();
        tokio::select! {
            // How it went is written down already.
            ran = self.run_leased(lease, &progress) => {
                if let Err(error) = ran {
                    tracing::warn!(%error, "PostgreSQL does not answer; the job is taken again when its lease has run out");
                }
            }
            () = lend(place, room, progress.subscribe()) => {}
        }
        drop(ticket);
    }

    async fn await_room(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            place = room.clone().acquire_owned() => place.ok(),
        }
    }

    /// Runs the job that waits longest, of one connector or of any; none when nothing waits.
    ///
    /// # Errors
    /// When PostgreSQL is away. How the sync itself went is in the answer.
    pub async fn run_next(
        &self,
        only: Option<ConnectorId>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<Result<Synced, SyncError>>, sqlx::Error> {
        match self.lease(only).await? {
            Some(lease) => self.run_leased(lease, progress).await,
            None => Ok(None),
        }
    }

    async fn lease(&self, only: Option<ConnectorId>) -> Result<Option<Lease>, sqlx::Error> {
        jobs::lease(&self.pool, &self.owner, only).await
    }

    async fn run_leased(
        &self,
        lease: Lease,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<Result<Synced, SyncError>>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let taken = jobs::take(&mut tx, lease, &self.keyring).await?;
        tx.commit().await?;
        match taken {
            Some(taken) => Ok(Some(self.finish(taken, progress).await)),
            None => Ok(None),
        }
    }

    /// Brings a job to its end as a step of the trace that led to it.
    async fn finish(&self, taken: Taken, progress: &watch::Sender<Progress>) -> Result<Synced, SyncError> {
        let span = taken.span();
        let trace = trace::start(&span, taken.job.as_ref().ok().and_then(|job| job.trace));
        trace::scope(Some(trace), self.work(taken, progress)).instrument(span).await
    }

    /// Writes the end down, patiently: PostgreSQL may be away just now.
    async fn work(&self, taken: Taken, progress: &watch::Sender<Progress>) -> Result<Synced, SyncError> {
        let Taken { lease, syncs, job } = taken;
        let began = Instant::now();
        let outcome = match job {
            Ok(job) => self.run_job(&job, progress).await,
            Err(error) => Err(error),
        };
        let report = progress.borrow().report;
        note(&outcome, began.elapsed());
        if let Err(error) = &outcome {
            let told = || jobs::fail(&self.pool, lease, &syncs, error, &report);
            if let Err(error) = told.retry(ExponentialBuilder::default().with_max_times(5)).await {
                tracing::warn!(%error, "how the sync ended could not be written down; it is begun again later");
            }
        }
        outcome
    }

    async fn run_job(&self, job: &Job, progress: &watch::Sender<Progress>) -> Result<Synced, SyncError> {
        let provider = self.providers.open(job, self.network)?;
        let synced = tokio::select! {
            synced = sync_connector(&self.pool, &self.producer, job, provider.as_ref(), progress) => {
                synced.inspect_err(|error| self.close_unless_transient(job, error))?
            }
            lost = self.hold_lease(job, progress) => return Err(lost),
            () = self.stop.cancelled() => return Err(SyncError::Stopped),
        };
        jobs::succeed(&self.pool, job, &synced).await?;
        Ok(synced)
    }

    fn close_unless_transient(&self, job: &Job, error: &SyncError) {
        if matches!(error, SyncError::Provider(error) if !error.is_transient()) {
            self.providers.close(job.connector_id);
        }
    }

    /// Renews the lease until it is lost. A database that is away for less than the lease does not end a sync.
    async fn hold_lease(&self, job: &Job, progress: &watch::Sender<Progress>) -> SyncError {
        let mut held = Instant::now();
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let report = progress.borrow().report;
            match jobs::renew(&self.pool, job, &report).await {
                Ok(true) => held = Instant::now(),
                Ok(false) => return SyncError::LeaseLost,
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    if held.elapsed().as_secs_f64() > jobs::LEASE_SECONDS {
                        return SyncError::LeaseLost;
                    }
                }
            }
        }
    }
}

/// Lends the place of a sync to others as long as nothing comes of it.
async fn lend(place: OwnedSemaphorePermit, room: Arc<Semaphore>, mut progress: watch::Receiver<Progress>) {
    let mut place = Some(place);
    loop {
        match tokio::time::timeout(SILENCE, progress.changed()).await {
            Err(_) => drop(place.take()),
            Ok(Ok(())) if place.is_none() => place = room.clone().try_acquire_owned().ok(),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
        }
    }
}

fn note(outcome: &Result<Synced, SyncError>, took: Duration) {
    let seconds = took.as_secs_f64();
    let label = match outcome {
        Ok(Synced { report, .. }) if report.events_published > 0 => {
            let SyncReport { requests, runs_seen, task_runs_seen, events_published, .. } = report;
            tracing::info!(seconds, requests, runs_seen, task_runs_seen, events_published, "synced");
            "succeeded"
        }
        Ok(Synced { report, .. }) => {
            tracing::debug!(seconds, requests = report.requests, "synced, nothing new");
            "succeeded"
        }
        Err(error @ (SyncError::Stopped | SyncError::LeaseLost)) => {
            tracing::info!(seconds, %error, "the sync is left to another worker");
            "left"
        }
        Err(error) => {
            tracing::warn!(seconds, %error, "the sync failed");
            "failed"
        }
    };
    metrics::histogram!("orchestration_sync_duration_seconds", "outcome" => label).record(seconds);
}
