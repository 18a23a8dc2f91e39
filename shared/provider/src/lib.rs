#![doc = include_str!("../README.md")]

mod address;
mod airflow;
mod check;
pub mod connector;
mod error;
mod http_client;
mod large_pages;
mod network;
mod parameter;
mod receiver;
mod unreadable;
pub mod web_client;

use std::sync::Arc;
use std::time::Duration;

pub use address::{check_base_url, check_receiver_url, check_token_url};
pub use airflow::{is_same_definition, with_time_zone, with_time_zone_of};
use async_trait::async_trait;
pub use check::{CheckFailure, check};
use chrono::{DateTime, Utc};
pub use error::{ProviderError, Subject};
pub use large_pages::PagePermit;
pub use network::{AllowedNetwork, AllowedNetworks, NetworkPolicy, parse_network};
pub use parameter::RunParameter;
pub use receiver::{ReceiverError, ReceiverResponse, Receivers};
use serde_json::value::RawValue;
pub use unreadable::{Decoded, UnreadableRows};

use crate::connector::{ConnectorConfig, Secrets};
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};

/// The maximum length of a run id in a trigger.
pub const MAX_RUN_ID_LENGTH: usize = 250;

/// Whether this is a valid run id for a trigger: letters, digits and `_.~:+-`, at most [`MAX_RUN_ID_LENGTH`]
/// of them.
pub fn is_run_id(run: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "_.~:+-".contains(letter);
    // "." and ".." are special in a URL path.
    (1..=MAX_RUN_ID_LENGTH).contains(&run.len()) && run.chars().all(is_allowed) && ![".", ".."].contains(&run)
}

/// A provider of pipelines. Every call reads the provider's present state, with a time-out of its own; no
/// call is retried for longer than a minute.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Returns the version of the server. The credentials may not be needed for it.
    async fn version(&self) -> Result<String, ProviderError>;

    /// Returns the server's clock, to the second. Sends one request, which also checks the credentials.
    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError>;

    /// Returns a page of all pipelines, including inactive ones, ordered by id. `tasks` is empty and
    /// `first_seen_at` is the time of the observation: the caller fills in both.
    async fn pipelines(
        &self,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError>;

    /// Whether the provider still has the pipeline.
    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError>;

    /// Returns the task graph of a pipeline, sorted by task id. A task that cannot be read is missing.
    async fn tasks(&self, pipeline: &str) -> Result<Decoded<Vec<TaskNode>>, ProviderError>;

    /// Returns the name of the time zone of a pipeline's schedule; none if the provider does not say.
    async fn time_zone(&self, pipeline: &str) -> Result<Option<String>, ProviderError>;

    /// Returns the parameters that a run of the pipeline takes, in their order; none if the provider does not
    /// have the pipeline. Secret values are removed.
    async fn parameters(&self, pipeline: &str) -> Result<Option<Vec<RunParameter>>, ProviderError>;

    /// Returns a page of runs.
    ///
    /// # Errors
    /// `Refused` with 404 if the provider does not have the pipeline.
    async fn runs(
        &self,
        scope: &RunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError>;

    /// Returns one run, or none if the provider does not have it.
    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        observation: Observation,
    ) -> Result<Option<Decoded<RunObserved>>, ProviderError>;

    /// Returns a page of task runs.
    ///
    /// # Errors
    /// `Refused` with 404 if the provider reports that it does not have the pipeline or run. Otherwise the
    /// page is empty.
    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError>;

    /// Requests a new run. The request is never retried.
    ///
    /// # Errors
    /// After `Unreachable` with `sent`, `Failing`, `Malformed` and `Oversized` it is unknown whether a run
    /// was created: look it up by its id. After any other error this request created none; a 409 may mean
    /// that an earlier request did.
    async fn trigger(
        &self,
        pipeline: &str,
        command: &TriggerCommand,
        observation: Observation,
    ) -> Result<RunObserved, ProviderError>;

    /// The number of requests that were sent since the provider was opened.
    fn requests(&self) -> u64;
}

/// Selects runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunScope {
    /// Those that changed at or after this time, by the provider's clock.
    ChangedSince(DateTime<Utc>),
    /// Those whose last change was between these times, both included.
    ChangedBetween(DateTime<Utc>, DateTime<Utc>),
    /// Those that are queued or running.
    Unfinished,
    /// Those of one pipeline that were due at or after this time. Where the provider does not return when a
    /// run was due, those with a logical date since then, and those that ended since then.
    Pipeline { pipeline: String, since: DateTime<Utc> },
}

/// Selects task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskRunScope {
    /// Those that changed at or after this time, by the provider's clock.
    ChangedSince(DateTime<Utc>),
    /// Those whose last change was between these times, both included.
    ChangedBetween(DateTime<Utc>, DateTime<Utc>),
    /// Those of one pipeline whose run was due at or after this time.
    Pipeline { pipeline: String, since: DateTime<Utc> },
    /// Those of one run.
    Run { pipeline: String, run: String },
}

/// A page of a list, and the token of the next page. A page may be empty although another one follows.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Rows that are missing from the items, or have fields that are missing.
    pub unreadable: UnreadableRows,
    /// None on the last page.
    pub next: Option<PageToken>,
    /// To be held as long as the items are.
    pub permit: PagePermit,
}

impl<T> Page<T> {
    fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        let items = self.items.into_iter().map(convert).collect();
        Page { items, unreadable: self.unreadable, next: self.next, permit: self.permit }
    }
}

/// The start of a page, in the provider's own encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub(crate) String);

/// A command to create a run.
#[derive(Clone, Debug)]
pub struct TriggerCommand {
    /// The provider's id of the new run. The caller chooses it, so that sending the command twice creates one
    /// run.
    pub run: String,
    pub logical_date: Option<DateTime<Utc>>,
    /// Sent as it is: its numbers keep their digits.
    pub conf: Arc<RawValue>,
    pub note: Option<String>,
}

/// How long a request may take, and how long after its first attempt it is retried.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the provider of a connector. No request is sent.
///
/// # Errors
/// When the configuration or the secrets are invalid.
pub fn open(
    config: &ConnectorConfig,
    secrets: &Secrets,
    source: Source,
    network: &NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    open_with_timeout(config, secrets, source, network, REQUEST_TIMEOUT)
}

/// Opens a provider whose requests take no longer than this.
///
/// # Errors
/// When the configuration or the secrets are invalid.
pub fn open_with_timeout(
    config: &ConnectorConfig,
    secrets: &Secrets,
    source: Source,
    network: &NetworkPolicy,
    timeout: Duration,
) -> Result<Box<dyn Provider>, ProviderError> {
    let transport = airflow::Transport {
        resolver: address::PolicedResolver::of_system(Arc::new(network.clone())),
        ca_certificate: config.ca_certificate.clone(),
        client_certificate: secrets.client_certificate.clone(),
        timeout,
    };
    Ok(Box::new(airflow::Airflow::new(config, secrets, source, transport)?))
}
