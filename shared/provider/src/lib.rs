//! The one abstraction of our own: a provider shows its pipelines, runs and task runs, page by page, in the words of
//! the event contract. Kafka and SQL are not known here; what to ask for, and when, is the sync's to say.

mod address;
mod airflow;
pub mod connector;
mod error;

use std::sync::Arc;

pub use address::check_base_url;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub use error::ProviderError;

use crate::connector::{ConnectorConfig, Secrets};
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};

/// How long the id of a run may be that is asked for.
pub const MAX_RUN_ID_LENGTH: usize = 250;

/// Whether a provider takes this as a run's id without stumbling over it.
pub fn is_run_id(run: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.~:+-".contains(letter);
    // Between the slashes of an address the two mean another place.
    (1..=MAX_RUN_ID_LENGTH).contains(&run.len()) && run.chars().all(plain) && ![".", ".."].contains(&run)
}

/// A provider of pipelines. Every call is one look at the provider with a time-out of its own; none is retried for
/// longer than a minute.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Who answers there. Checks the credentials too.
    async fn probe(&self) -> Result<ProviderInfo, ProviderError>;

    /// The provider's own time, to the second. One request, which checks the credentials too.
    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError>;

    /// A page of all pipelines, the inactive ones included, ordered by their id. `tasks` is left empty and
    /// `first_seen_at` is the observation's: the caller knows better.
    async fn pipelines(
        &self,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError>;

    /// Whether the provider still has this pipeline.
    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError>;

    /// The task graph of a pipeline, sorted by task id.
    async fn tasks(&self, pipeline: &str) -> Result<Vec<TaskNode>, ProviderError>;

    /// A page of runs. A pipeline that the provider does not have is `Refused` with 404.
    async fn runs(
        &self,
        scope: &RunScope,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError>;

    /// One run, or none when the provider does not have it.
    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        seen: Observation,
    ) -> Result<Option<RunObserved>, ProviderError>;

    /// A page of task runs. A pipeline or run that the provider does not have is `Refused` with 404 where it tells, else
    /// the page is empty.
    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError>;

    /// Asks for a new run, once.
    ///
    /// # Errors
    /// `Unreachable` with `sent`, `Failing`, `Malformed` and `Oversized` leave it open whether there is a run: look for it by its
    /// id. With any other error this request has made none; a 409 among them may mean that an earlier one has.
    async fn trigger(
        &self,
        pipeline: &str,
        command: &TriggerCommand,
        seen: Observation,
    ) -> Result<RunObserved, ProviderError>;

    /// How many requests were sent since it was opened.
    fn requests(&self) -> u64;
}

/// Which runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunScope {
    /// All that changed at or after this time, by the provider's clock.
    ChangedSince(DateTime<Utc>),
    /// All that are queued or running.
    Unfinished,
    /// Those of one pipeline that were due at or after this time.
    Pipeline { pipeline: String, since: DateTime<Utc> },
}

/// Which task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskRunScope {
    /// All that changed at or after this time, by the provider's clock.
    ChangedSince(DateTime<Utc>),
    /// Those of one pipeline whose run was due at or after this time.
    Pipeline { pipeline: String, since: DateTime<Utc> },
    /// Those of one run.
    Run { pipeline: String, run: String },
}

/// A part of a list, and where the next one starts. It may be empty though another one follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// None on the last page.
    pub next: Option<PageToken>,
}

impl<T> Page<T> {
    fn map<U>(self, turn: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(turn).collect(), next: self.next }
    }
}

/// Where a page starts, in the provider's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub(crate) String);

/// What a provider says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderInfo {
    pub version: String,
    /// The provider's clock, to the second, when it was asked.
    pub clock: DateTime<Utc>,
}

/// A wish for a new run.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerCommand {
    /// The provider's id of the run to be: ours to choose, so that asking twice makes one run.
    pub run: String,
    pub logical_date: Option<DateTime<Utc>>,
    pub conf: serde_json::Value,
    pub note: Option<String>,
}

/// Which addresses a provider may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct NetworkPolicy {
    /// Let connectors reach loopback and private addresses (link-local and metadata addresses are always refused)
    #[arg(long, env = "ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub allow_private_networks: bool,
}

/// Opens the provider behind a connector. Nothing is sent yet.
///
/// # Errors
/// When the settings themselves cannot work.
pub fn open(
    config: &ConnectorConfig,
    secrets: &Secrets,
    source: Source,
    network: NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    let resolver = Arc::new(address::SystemResolver);
    Ok(Box::new(airflow::Airflow::new(config, secrets, source, network, resolver)?))
}
