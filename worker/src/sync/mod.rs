//! The sync: one path from a connector to its events, whoever asked for it. Schedules and requests only make jobs;
//! projecting what is published is for `project`.

mod changes;
mod crawl;
mod deletions;
mod error;
mod graphs;
pub mod jobs;
mod listing;
mod open_providers;
mod publish;
pub mod requests;
pub mod runner;
pub mod schedule;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::events::{Observation, SyncReport};
use contract::ids::PipelineId;
pub use error::SyncError;
use jobs::Job;
use listing::Listed;
use platform::kafka::Producer;
use provider::Provider;
use publish::Publisher;
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// While histories are read, polls go on: this long after one another, or ten times as long as one takes.
const POLL_EVERY: Duration = Duration::from_secs(5);
const POLL_SHARE: u32 = 10;
/// How long the read model may stand still before a sync stops waiting for it.
const READ_MODEL_PATIENCE: Duration = Duration::from_secs(60);

/// What a sync works with.
pub struct Sync<'a> {
    pub pool: &'a PgPool,
    pub job: &'a Job,
    pub provider: &'a dyn Provider,
    pub publisher: Publisher,
    pub progress: &'a watch::Sender<Progress>,
    /// What the provider had been asked before this sync.
    requests_before: u64,
    /// Held by whoever compares pipelines with the read model and publishes them, so that one at a time does.
    pipelines: Mutex<()>,
}

/// How far a sync is, for those who watch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    /// Histories read, of all that are to be read.
    pub crawled: usize,
    pub to_crawl: usize,
    pub report: SyncReport,
}

/// What a sync is busy with. It only goes forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    Connecting,
    Listing,
    Changes,
    Histories,
    Projecting,
    /// It is another worker's to know.
    Elsewhere,
}

/// What a complete sync has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub report: SyncReport,
    /// Its last poll.
    pub polled: Polled,
}

/// A complete look at the provider's lists: of pipelines, and of what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The provider's clock when it began: where the next one goes on.
    pub clock: DateTime<Utc>,
    /// PostgreSQL's clock when it began: everything shown was true then, or later.
    pub began: DateTime<Utc>,
    listed: Listed,
    /// The pipelines that have just run, or run now.
    lively: BTreeSet<PipelineId>,
}

/// Syncs a connector: lists its pipelines, reads what changed since the last time, reads through the histories that
/// are due while it goes on polling, and returns once the read model shows it all.
///
/// # Errors
/// When any part of it did not succeed. What was published stays published, and the cursor is behind what was not.
pub async fn sync_connector(
    pool: &PgPool,
    producer: &Producer,
    job: &Job,
    provider: &dyn Provider,
    progress: &watch::Sender<Progress>,
) -> Result<Synced, SyncError> {
    let publisher = Publisher::new(pool.clone(), producer.clone());
    let requests_before = provider.requests();
    let pipelines = Mutex::default();
    let sync = Sync { pool, job, provider, publisher, progress, requests_before, pipelines };
    let outcome = sync.run().await;
    sync.note_progress(|_| {});
    outcome
}

impl Sync<'_> {
    async fn run(&self) -> Result<Synced, SyncError> {
        self.enter(Stage::Connecting);
        let polled = self.poll(self.job.cursor_at).await?;
        let due = self.due(&polled).await?;
        let polled = if due.is_empty() { polled } else { self.read_histories(due, polled).await? };
        self.enter(Stage::Projecting);
        self.await_read_model().await?;
        Ok(Synced { report: self.report(), polled })
    }

    /// Lists all pipelines and reads what changed since the cursor; without one, the newest.
    async fn poll(&self, cursor: Option<DateTime<Utc>>) -> Result<Polled, SyncError> {
        let began = self.observe().await?.at;
        let clock = self.provider.clock().await?;
        if cursor.is_none() {
            // Set before anything is read: what changes while histories are read is then found by the next poll, even
            // if this sync never ends.
            jobs::move_cursor(self.pool, self.job, clock).await?;
        }
        self.enter(Stage::Listing);
        let listed = self.list_pipelines().await?;
        self.enter(Stage::Changes);
        let lively = match cursor {
            Some(cursor) => self.read_changes(cursor, &listed).await?,
            None => self.read_newest(clock).await?,
        };
        Ok(Polled { clock, began, listed, lively })
    }

    /// Reads the histories that are due and polls beside it, until they are read; returns the last poll.
    async fn read_histories(&self, due: Vec<String>, polled: Polled) -> Result<Polled, SyncError> {
        // A history that cannot be read must not hold back what all polls find.
        jobs::move_cursor(self.pool, self.job, polled.clock).await?;
        self.enter(Stage::Histories);
        let read = CancellationToken::new();
        let crawl = async {
            self.crawl_all(&due).await?;
            read.cancel();
            Ok(())
        };
        let ((), last) = tokio::try_join!(crawl, self.poll_until(&read, polled))?;
        Ok(last)
    }

    async fn poll_until(&self, end: &CancellationToken, mut last: Polled) -> Result<Polled, SyncError> {
        let mut pause = POLL_EVERY;
        loop {
            tokio::select! {
                () = end.cancelled() => return Ok(last),
                () = tokio::time::sleep(pause) => {}
            }
            let began = Instant::now();
            last = self.poll(Some(last.clock)).await?;
            pause = POLL_EVERY.max(began.elapsed() * POLL_SHARE);
            self.await_read_model().await?;
            jobs::serve(self.pool, self.job, &last, &self.report()).await?;
        }
    }

    /// How many things of one kind are worked on at a time: twice as many as the source may be asked at once, for the
    /// one half is published while the other is read.
    fn at_once(&self) -> usize {
        2 * usize::from(self.job.config.max_requests_in_flight)
    }

    /// Marks the moment before a page is asked for.
    async fn observe(&self) -> Result<Observation, SyncError> {
        Ok(platform::db::observe(self.pool).await?)
    }

    /// Waits until the read model shows what was published up to now.
    async fn await_read_model(&self) -> Result<(), SyncError> {
        let published = self.publisher.positions();
        if published.is_empty() {
            return Ok(());
        }
        let mut least = i64::MAX;
        let mut since = Instant::now();
        loop {
            let behind = self.publisher.behind(&published).await?;
            if behind == 0 {
                return Ok(());
            }
            if behind < least {
                (least, since) = (behind, Instant::now());
            } else if since.elapsed() > READ_MODEL_PATIENCE {
                return Err(SyncError::ReadModelBehind { behind });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn report(&self) -> SyncReport {
        let requests = self.provider.requests() - self.requests_before;
        SyncReport { requests, ..self.publisher.report() }
    }

    fn enter(&self, stage: Stage) {
        self.note_progress(|progress| progress.stage = progress.stage.max(stage));
    }

    fn note_progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(|progress| {
            change(progress);
            progress.report = self.report();
        });
    }
}
