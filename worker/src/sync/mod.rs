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

use std::time::Duration;

use chrono::{DateTime, Utc};
pub use error::SyncError;
use graphs::Graphs;
use jobs::Job;
use publish::Publisher;
use shared::events::{Observation, SyncReport};
use shared::kafka::Producer;
use shared::provider::Provider;
use sqlx::PgPool;
use tokio::sync::watch;

/// How many pipelines' histories are read at a time.
const CRAWLS_AT_ONCE: usize = 4;
/// How long the read model may stand still before a sync stops waiting for it.
const READ_MODEL_PATIENCE: Duration = Duration::from_secs(60);

/// What a sync works with.
pub struct Sync<'a> {
    pub pool: &'a PgPool,
    pub job: &'a Job,
    pub provider: &'a dyn Provider,
    pub publisher: Publisher,
    pub progress: &'a watch::Sender<Progress>,
    graphs: Graphs,
    /// What the provider had been asked before this sync.
    requests_before: u64,
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

/// What a sync is busy with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Connecting,
    Listing,
    Changes,
    Histories,
    Projecting,
}

/// What a complete sync has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub report: SyncReport,
    /// The provider's clock when the sync began: where the next one goes on.
    pub cursor_at: DateTime<Utc>,
    /// Our clock when the sync began: everything shown was true then, or later.
    pub confirmed_at: DateTime<Utc>,
}

/// Syncs a connector: lists its pipelines, reads what changed since the last time, reads through the histories that
/// are due, and returns once the read model shows it all.
///
/// # Errors
/// When any part of it did not succeed. What was published stays published; the cursor has not moved.
pub async fn sync_connector(
    pool: &PgPool,
    producer: &Producer,
    job: &Job,
    provider: &dyn Provider,
    progress: &watch::Sender<Progress>,
) -> Result<Synced, SyncError> {
    let publisher = Publisher::new(pool.clone(), producer.clone());
    let requests_before = provider.requests();
    let graphs = Graphs::default();
    let sync = Sync { pool, job, provider, publisher, progress, graphs, requests_before };
    let outcome = sync.run().await;
    sync.note_progress(|_| {});
    outcome
}

impl Sync<'_> {
    async fn run(&self) -> Result<Synced, SyncError> {
        self.enter(Stage::Connecting);
        let confirmed_at = Utc::now();
        let clock = self.provider.clock().await?;
        self.start_cursor(clock).await?;
        self.enter(Stage::Listing);
        let listed = self.list_pipelines().await?;
        self.enter(Stage::Changes);
        let lively = match self.job.cursor_at {
            Some(cursor) => self.read_changes(cursor, &listed).await?,
            None => self.read_newest(clock).await?,
        };
        self.enter(Stage::Histories);
        self.crawl_due(&listed, &lively).await?;
        self.enter(Stage::Projecting);
        self.await_read_model().await?;
        self.read_graphs().await?;
        self.await_read_model().await?;
        Ok(Synced { report: self.report(), cursor_at: clock, confirmed_at })
    }

    /// A first sync sets the cursor before it reads anything: what changes while histories are read is then found by
    /// the next sync, even if this one never ends.
    async fn start_cursor(&self, clock: DateTime<Utc>) -> Result<(), SyncError> {
        match self.job.cursor_at {
            Some(_) => Ok(()),
            None => jobs::start_cursor(self.pool, self.job, clock).await,
        }
    }

    /// Marks the moment before a page is asked for.
    async fn observe(&self) -> Result<Observation, SyncError> {
        Ok(shared::db::observe(self.pool).await?)
    }

    async fn await_read_model(&self) -> Result<(), SyncError> {
        let mut least = i64::MAX;
        let mut since = tokio::time::Instant::now();
        loop {
            let behind = self.publisher.behind().await?;
            if behind == 0 {
                return Ok(());
            }
            if behind < least {
                (least, since) = (behind, tokio::time::Instant::now());
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
        self.note_progress(|progress| progress.stage = stage);
    }

    fn note_progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(|progress| {
            change(progress);
            progress.report = self.report();
        });
    }
}
