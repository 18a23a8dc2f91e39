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
mod requests;
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
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Mutex, OnceCell, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use budget::SyncBudget;
pub use error::SyncError;
pub use job::SyncJob;
pub use progress::{SyncPhase, SyncProgress};

use crate::metrics::record_schedule_lateness;
use crate::projection;
use crate::store::change_cursors::ChangeCursors;
use crate::store::{connector_state, syncs};
use changes::ActivePipelines;
use deletions::MassDeletion;
use history::TaskRunLists;
use pipelines::{ListedPipelines, Listing};
use publish::Publisher;
use requests::UnansweredRequests;
use unread_lists::{PIPELINES, UnreadLists};

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
    task_run_lists: TaskRunLists,
    unanswered: UnansweredRequests,
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
    /// The cursors of the next poll: the provider's time when this one began, or an earlier one for a list
    /// that could not be read.
    pub cursors: ChangeCursors,
    /// PostgreSQL's time when the poll began: the read model is at least as recent.
    pub began_at: DateTime<Utc>,
    listed: ListedPipelines,
    /// The pipelines with unfinished or changed runs.
    recently_active: BTreeSet<PipelineId>,
    /// The mass deletion that an operator must accept.
    mass_deletion: Option<MassDeletion>,
    /// The lists that could not be read. Their cursors are not moved.
    unread: UnreadLists,
}

impl CompletedPoll {
    /// The error of a sync that ends with this poll; none if the poll read everything.
    fn failure(&self) -> Option<SyncError> {
        let mass_deletion = || {
            let MassDeletion { missing, total } = self.mass_deletion?;
            Some(SyncError::MassDeletion { missing, total })
        };
        self.unread.failure().or_else(mass_deletion)
    }
}

/// Syncs a connector: lists its pipelines, reads the changes since the cursors, reads the histories that are
/// due while polls continue, and returns once the read model contains everything.
///
/// # Errors
/// When any step failed. Published events stay published, and no cursor is moved past changes that neither an
/// event nor a history that is still due contains.
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
    let (task_runs_error, graphs_in_backoff) = (OnceLock::new(), OnceCell::new());
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
        task_run_lists: TaskRunLists::default(),
        unanswered: UnansweredRequests::default(),
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
        let poll = self.poll(self.job.cursors).await?;
        let due = self.due_histories(&poll).await?;
        let last_poll = if due.is_empty() { poll } else { self.read_due_histories(due, poll).await? };
        self.enter_phase(SyncPhase::Projecting);
        self.await_read_model().await?;
        match last_poll.failure() {
            Some(error) => {
                self.store_poll(&last_poll).await?;
                Err(error)
            }
            None => Ok(SyncOutcome { report: self.report(), last_poll }),
        }
    }

    /// Lists all pipelines and reads the changes since the cursors; without cursors, the newest runs.
    async fn poll(&self, cursors: Option<ChangeCursors>) -> Result<CompletedPoll, SyncError> {
        self.unanswered.reset();
        let began_at = self.observe().await?.at;
        let provider_clock = self.provider.clock().await?;
        let cursors = cursors.map(|cursors| self.not_after(provider_clock, cursors, began_at));
        self.enter_phase(SyncPhase::Listing);
        match cursors {
            Some(cursors) => self.poll_changes(began_at, provider_clock, cursors).await,
            None => self.poll_newest(began_at, provider_clock).await,
        }
    }

    /// Lists all pipelines, without which nothing is known, and reads the newest runs.
    async fn poll_newest(
        &self,
        began_at: DateTime<Utc>,
        provider_clock: DateTime<Utc>,
    ) -> Result<CompletedPoll, SyncError> {
        // Moved before anything is read: the next poll then finds the changes during the read of the
        // histories, even if this sync never finishes.
        self.move_cursors(ChangeCursors::both(provider_clock)).await?;
        let listing = self.list_pipelines().await?;
        let listed = listing.names.clone();
        self.enter_phase(SyncPhase::Changes);
        let active = self.publish_newest(provider_clock).await?;
        self.end_poll(began_at, Some(listing), listed, active).await
    }

    /// Lists all pipelines and reads the changes since the cursors. While the list cannot be read, the
    /// pipelines are those of the read model.
    async fn poll_changes(
        &self,
        began_at: DateTime<Utc>,
        provider_clock: DateTime<Utc>,
        cursors: ChangeCursors,
    ) -> Result<CompletedPoll, SyncError> {
        let mut unread = UnreadLists::default();
        let list = async { self.list_pipelines().await.map(Some) };
        let listing = self.read_list(&mut unread, PIPELINES, list).await?;
        let listed = match &listing {
            Some(listing) => listing.names.clone(),
            None => self.find_known_pipelines().await?,
        };
        self.enter_phase(SyncPhase::Changes);
        let active = self.publish_changes(cursors, provider_clock, &listed, unread).await?;
        self.end_poll(began_at, listing, listed, active).await
    }

    /// Deactivates the pipelines that are missing from the list, if it could be read.
    async fn end_poll(
        &self,
        began_at: DateTime<Utc>,
        listing: Option<Listing>,
        listed: ListedPipelines,
        active: ActivePipelines,
    ) -> Result<CompletedPoll, SyncError> {
        let ActivePipelines { running, recently_active, unread, cursors, .. } = active;
        let mass_deletion = match listing {
            Some(listing) => self.deactivate_missing(listing, &running).await?,
            None => None,
        };
        Ok(CompletedPoll { cursors, began_at, listed, recently_active, mass_deletion, unread })
    }

    /// The cursors, unless the provider's clock has gone back behind them: nothing is stamped later than such
    /// a cursor for a while. The time since the last complete poll is then measured by PostgreSQL's clock.
    fn not_after(
        &self,
        provider_clock: DateTime<Utc>,
        cursors: ChangeCursors,
        began_at: DateTime<Utc>,
    ) -> ChangeCursors {
        let since_confirmed =
            self.job.confirmed_at.map_or(TimeDelta::zero(), |confirmed| began_at - confirmed);
        let not_after = |cursor: DateTime<Utc>| {
            if cursor <= provider_clock {
                return cursor;
            }
            if cursor > provider_clock + self.job.overlap {
                tracing::warn!(%cursor, %provider_clock, "clock of the provider has gone back");
            }
            provider_clock - since_confirmed
        };
        ChangeCursors { runs: not_after(cursors.runs), task_runs: not_after(cursors.task_runs) }
    }

    /// Reads the histories that are due while polls continue, and returns the last poll.
    async fn read_due_histories(
        &self,
        due: Vec<String>,
        poll: CompletedPoll,
    ) -> Result<CompletedPoll, SyncError> {
        // A history that cannot be read must not hold back the changes that polls find.
        self.move_cursors(poll.cursors).await?;
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
            last = self.poll(Some(last.cursors)).await?;
            pause = MIN_POLL_INTERVAL.max(started.elapsed() * POLL_INTERVAL_FACTOR);
            self.await_read_model().await?;
            self.complete_waiting(&last).await?;
        }
    }

    /// Stores the poll of a sync that does not succeed. It confirms the read model, unless runs could not be
    /// read.
    async fn store_poll(&self, poll: &CompletedPoll) -> Result<(), SyncError> {
        if !poll.unread.are_runs_read() {
            return self.move_cursors(poll.cursors).await;
        }
        let ends_failures = poll.failure().is_none_or(|failure| failure.needs_operator());
        self.confirm(&mut *self.pool.acquire().await?, poll, ends_failures).await
    }

    async fn confirm(
        &self,
        db: &mut PgConnection,
        poll: &CompletedPoll,
        ends_failures: bool,
    ) -> Result<(), SyncError> {
        let (lease, cursors) = (self.job.lease, poll.cursors);
        let updated = connector_state::update_after_poll(db, lease, cursors, poll.began_at, ends_failures);
        if updated.await? { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// Moves the cursors: in a first sync before anything is read, since the histories contain it; otherwise
    /// once everything before them is published.
    async fn move_cursors(&self, cursors: ChangeCursors) -> Result<(), SyncError> {
        let moved = connector_state::move_cursors(self.pool, self.job.lease, cursors).await?;
        if moved { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// Stores a complete poll in the middle of a sync that reads histories, and finishes the queued syncs
    /// that ask for no more than a poll, so that they do not wait for the histories.
    async fn complete_waiting(&self, poll: &CompletedPoll) -> Result<(), SyncError> {
        if poll.failure().is_some() {
            return self.store_poll(poll).await;
        }
        let connector = self.job.lease.connector_id;
        let mut tx = self.pool.begin().await?;
        self.confirm(&mut tx, poll, true).await?;
        let completed = syncs::start_polled(&mut tx, connector, poll.began_at, syncs::MAX_STARTED).await?;
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
