//! One pass over a connector: it lists the pipelines, reads the changes and the histories that are due, and
//! publishes the differences. `changes` and `history` choose what is read, `pages` reads it, and `publish`
//! sends what differs. The choice of the connector is left to `queue`, SQL to `store`, and the projection of
//! events to `projection`.

mod back_off;
mod budget;
mod change_windows;
mod changes;
mod deletions;
mod error;
mod flapping;
mod history;
mod incomplete_runs;
mod job;
mod pages;
mod pipelines;
mod progress;
mod publish;
mod task_graphs;
mod unread_lists;

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{Observation, SyncReport};
use contract::ids::PipelineId;
use platform::kafka::Producer;
use platform::offsets::Offsets;
use provider::{Decoded, Provider, ProviderError};
use sqlx::PgPool;
use tokio::sync::{Mutex, OnceCell, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use budget::SyncBudget;
pub use error::SyncError;
pub use job::SyncJob;
pub use progress::{SyncPhase, SyncProgress};

use crate::metrics::record_schedule_lateness;
use crate::projection;
use crate::store::{connector_state, syncs};
use changes::ActivePipelines;
use deletions::MassDeletion;
use pipelines::ListedPipelines;
use publish::Publisher;
use unread_lists::UnreadLists;

/// The interval of polls while histories are read, unless ten times the duration of a poll is longer.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(5);
const POLL_INTERVAL_FACTOR: u32 = 10;

/// The connections and state of one pass.
struct SyncPass<'a> {
    pool: &'a PgPool,
    job: &'a SyncJob,
    provider: &'a dyn Provider,
    publisher: Publisher,
    progress: &'a watch::Sender<SyncProgress>,
    started: Instant,
    /// One for each history that is read at once, shared by all syncs of this process.
    history_permits: &'a Semaphore,
    /// The number of requests that the provider had sent before this pass.
    requests_before: u64,
    /// Held while pipelines are compared with the read model and published: one comparison at a time.
    pipelines_lock: Mutex<()>,
    /// The error because of which lists of task runs are not requested again in this pass.
    task_runs_error: OnceLock<ProviderError>,
    /// Pipelines whose task graphs are not requested in this pass.
    graphs_in_backoff: OnceCell<std::sync::Mutex<BTreeSet<String>>>,
}

/// The outcome of a complete sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOutcome {
    pub report: SyncReport,
    pub last_poll: CompletedPoll,
}

/// A complete read of the provider's pipelines and of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPoll {
    /// The provider's time when the poll began: the cursor of the next one.
    pub provider_clock: DateTime<Utc>,
    /// PostgreSQL's time when the poll began: the read model is at least as recent.
    pub began_at: DateTime<Utc>,
    listed: ListedPipelines,
    /// The pipelines with unfinished or changed runs.
    recently_active: BTreeSet<PipelineId>,
    /// The mass deletion that an operator must accept.
    mass_deletion: Option<MassDeletion>,
    /// The lists that could not be read. While there are any, the cursor is not moved.
    unread: UnreadLists,
}

/// Syncs a connector: lists its pipelines, reads the changes since the cursor, reads the histories that are
/// due while polls continue, and returns once the read model contains everything.
///
/// # Errors
/// When any step failed. Published events stay published, and the cursor is not moved past changes that
/// neither an event nor a history that is still due contains.
pub async fn sync_connector(
    pool: &PgPool,
    producer: &Producer,
    job: &SyncJob,
    provider: &dyn Provider,
    progress: &watch::Sender<SyncProgress>,
    history_permits: &Semaphore,
) -> Result<SyncOutcome, SyncError> {
    let publisher = Publisher::new(pool.clone(), producer.clone());
    let requests_before = provider.requests();
    let pipelines_lock = Mutex::default();
    let task_runs_error = OnceLock::new();
    let graphs_in_backoff = OnceCell::new();
    let pass = SyncPass {
        pool,
        job,
        provider,
        publisher,
        progress,
        started: Instant::now(),
        history_permits,
        requests_before,
        pipelines_lock,
        task_runs_error,
        graphs_in_backoff,
    };
    let outcome = pass.run().await;
    pass.update_progress(|_| {});
    outcome
}

impl SyncPass<'_> {
    async fn run(&self) -> Result<SyncOutcome, SyncError> {
        self.enter_phase(SyncPhase::Connecting);
        // Compared with a read model that lacks them, the same changes would be published again.
        self.await_projected(&self.job.published).await?;
        let poll = self.poll(self.job.cursor_at).await?;
        let due = self.due_histories(&poll).await?;
        let last_poll = if due.is_empty() { poll } else { self.read_due_histories(due, poll).await? };
        self.enter_phase(SyncPhase::Projecting);
        self.await_read_model().await?;
        if let Some(error) = last_poll.unread.first() {
            return Err(error);
        }
        match last_poll.mass_deletion {
            Some(MassDeletion { missing, total }) => {
                self.store_poll(&last_poll).await?;
                Err(SyncError::MassDeletion { missing, total })
            }
            None => Ok(SyncOutcome { report: self.report(), last_poll }),
        }
    }

    /// Lists all pipelines and reads the changes since the cursor; without a cursor, the newest runs.
    async fn poll(&self, cursor: Option<DateTime<Utc>>) -> Result<CompletedPoll, SyncError> {
        let began_at = self.observe().await?.at;
        let provider_clock = self.provider.clock().await?;
        let cursor = cursor.map(|cursor| self.not_after(provider_clock, cursor, began_at));
        if cursor.is_none() {
            // Moved before anything is read: the next poll then finds the changes during the read of the
            // histories, even if this sync never finishes.
            self.move_cursor(provider_clock).await?;
        }
        self.enter_phase(SyncPhase::Listing);
        let listing = self.list_pipelines().await?;
        let listed = listing.names.clone();
        self.enter_phase(SyncPhase::Changes);
        let ActivePipelines { running, recently_active, unread, cursor, .. } = match cursor {
            Some(cursor) => self.publish_changes(cursor, provider_clock, &listed).await?,
            None => self.publish_newest(provider_clock).await?,
        };
        let mass_deletion = self.deactivate_missing(listing, &running).await?;
        let provider_clock = cursor;
        Ok(CompletedPoll { provider_clock, began_at, listed, recently_active, mass_deletion, unread })
    }

    /// The cursor, unless the provider's clock has gone back behind it: nothing is stamped later than that
    /// cursor for a while. The time since the last complete poll is then measured by PostgreSQL's clock.
    fn not_after(
        &self,
        provider_clock: DateTime<Utc>,
        cursor: DateTime<Utc>,
        began_at: DateTime<Utc>,
    ) -> DateTime<Utc> {
        if cursor <= provider_clock {
            return cursor;
        }
        if cursor > provider_clock + self.job.overlap {
            tracing::warn!(%cursor, %provider_clock, "clock of the provider has gone back");
        }
        provider_clock - self.job.confirmed_at.map_or(TimeDelta::zero(), |confirmed| began_at - confirmed)
    }

    /// Reads the histories that are due while polls continue, and returns the last poll.
    async fn read_due_histories(
        &self,
        due: Vec<String>,
        poll: CompletedPoll,
    ) -> Result<CompletedPoll, SyncError> {
        // A history that cannot be read must not hold back the changes that polls find.
        self.move_cursor(poll.provider_clock).await?;
        self.await_read_model().await?;
        self.complete_waiting(&poll).await?;
        self.enter_phase(SyncPhase::Histories);
        let (done, listed) = (CancellationToken::new(), poll.listed.len());
        let read = async {
            self.read_histories(&due, listed).await?;
            done.cancel();
            Ok(())
        };
        let ((), last_poll) = tokio::try_join!(read, self.poll_until(&done, poll))?;
        Ok(last_poll)
    }

    async fn poll_until(
        &self,
        done: &CancellationToken,
        mut last: CompletedPoll,
    ) -> Result<CompletedPoll, SyncError> {
        let mut pause = MIN_POLL_INTERVAL;
        loop {
            tokio::select! {
                () = done.cancelled() => return Ok(last),
                () = tokio::time::sleep(pause) => {}
            }
            let started = Instant::now();
            last = self.poll(Some(last.provider_clock)).await?;
            pause = MIN_POLL_INTERVAL.max(started.elapsed() * POLL_INTERVAL_FACTOR);
            self.await_read_model().await?;
            self.complete_waiting(&last).await?;
        }
    }

    /// Stores a complete poll of a sync that does not succeed.
    async fn store_poll(&self, poll: &CompletedPoll) -> Result<(), SyncError> {
        let mut db = self.pool.acquire().await?;
        let lease = self.job.lease;
        let updated =
            connector_state::update_after_poll(&mut db, lease, poll.provider_clock, poll.began_at).await?;
        if updated { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// Moves the cursor: in a first sync before anything is read, since the histories contain it; otherwise
    /// once everything before it is published.
    async fn move_cursor(&self, cursor: DateTime<Utc>) -> Result<(), SyncError> {
        let moved = connector_state::move_cursor(self.pool, self.job.lease, cursor).await?;
        if moved { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// Stores a complete poll in the middle of a sync that reads histories, and finishes the queued syncs
    /// that ask for no more than a poll, so that they do not wait for the histories.
    async fn complete_waiting(&self, poll: &CompletedPoll) -> Result<(), SyncError> {
        if !poll.unread.is_empty() {
            return Ok(());
        }
        if poll.mass_deletion.is_some() {
            return self.store_poll(poll).await;
        }
        let lease = self.job.lease;
        let mut tx = self.pool.begin().await?;
        if !connector_state::update_after_poll(&mut tx, lease, poll.provider_clock, poll.began_at).await? {
            return Err(SyncError::LeaseLost);
        }
        let completed =
            syncs::start_polled(&mut tx, lease.connector_id, poll.began_at, syncs::MAX_STARTED).await?;
        let (ids, lateness): (Vec<_>, Vec<_>) = completed.into_iter().unzip();
        syncs::finish(&mut tx, &ids, None, &self.report()).await?;
        lateness.into_iter().flatten().for_each(record_schedule_lateness);
        Ok(tx.commit().await?)
    }

    /// The number of items of one kind that are processed concurrently: twice the provider's concurrent
    /// requests, because half of the items are being published while the others are read.
    fn concurrency(&self) -> usize {
        2 * usize::from(self.job.config.max_requests_in_flight)
    }

    /// Draws the version and time of an observation, before its page is requested.
    async fn observe(&self) -> Result<Observation, SyncError> {
        self.check_budget()?;
        Ok(platform::db::observe(self.pool).await?)
    }

    /// Waits until the read model contains all records published so far.
    async fn await_read_model(&self) -> Result<(), SyncError> {
        self.await_projected(&self.publisher.offsets()).await
    }

    async fn await_projected(&self, published: &Offsets) -> Result<(), SyncError> {
        match projection::await_projected(self.pool, published).await? {
            0 => Ok(()),
            behind => Err(SyncError::ReadModelBehind { behind }),
        }
    }

    /// Returns the value, and adds its unreadable rows to the report.
    fn note<T>(&self, Decoded { value, unreadable }: Decoded<T>) -> T {
        self.publisher.note_unreadable(unreadable);
        value
    }

    fn report(&self) -> SyncReport {
        let requests = self.provider.requests() - self.requests_before;
        SyncReport { requests, ..self.publisher.report() }
    }

    fn enter_phase(&self, phase: SyncPhase) {
        self.update_progress(|progress| progress.phase = progress.phase.max(phase));
    }

    fn update_progress(&self, update: impl FnOnce(&mut SyncProgress)) {
        self.progress.send_modify(|progress| {
            update(progress);
            progress.report = self.report();
            progress.published = self.publisher.offsets();
        });
    }
}
