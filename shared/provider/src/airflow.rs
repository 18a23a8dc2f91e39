//! Apache Airflow: detects the version of the REST API once and returns events of the contract. `client` and
//! `session` send the requests, `v1` and `v2` implement the two API versions, `pages` and `rows` read lists
//! page by page and row by row, and `normalize` maps Airflow's entities to events.

mod body_reader;
mod client;
mod dag_list;
mod earlier_runs;
mod error_body;
mod fields;
mod grant;
mod identity_provider;
mod json_text;
mod list_failures;
mod look_up;
mod model;
mod normalize;
mod page_offsets;
mod pages;
mod parameters;
mod rate_limit;
#[cfg(test)]
mod rebinding;
mod redaction;
mod rows;
#[cfg(test)]
mod scripted_resolver;
mod session;
mod time_window;
mod token;
mod transport;
mod v1;
mod v2;
mod windows;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use self::client::Client;
use self::earlier_runs::EarlierRuns;
pub use self::normalize::{is_same_definition, with_time_zone, with_time_zone_of};
use self::redaction::Redaction;
use self::session::Session;
pub(super) use self::transport::Transport;
use self::v1::V1;
use self::v2::V2;
use crate::connector::{ApiVersion, ConnectorConfig, Credentials, SecretKeys, Secrets};
use crate::{
    Decoded, Page, PageToken, Provider, ProviderError, RunParameter, RunScope, Subject, TaskRunScope,
    TriggerCommand, is_run_id,
};
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};

/// The Airflow server of one connector.
pub(super) struct Airflow {
    client: Arc<Client>,
    redaction: Arc<Redaction>,
    credentials: Credentials,
    /// What both versions of the REST API accept; user and password are not sent in it.
    session: Arc<Session>,
    api_version: ApiVersion,
    redact_conf: SecretKeys,
    source: Source,
    api: OnceCell<Box<dyn RestApi>>,
}

/// A version of the REST API: its paths, filters and bodies. Results are types of `model`.
#[async_trait]
trait RestApi: Send + Sync {
    /// The version of Airflow.
    async fn version(&self) -> Result<String, ProviderError>;
    /// The server's clock, from the response to a request that needs permission to list DAGs.
    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError>;
    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError>;
    async fn has_dag(&self, dag: &str) -> Result<bool, ProviderError>;
    async fn tasks(&self, dag: &str) -> Result<Decoded<Vec<model::Task>>, ProviderError>;
    async fn time_zone(&self, dag: &str) -> Result<Option<String>, ProviderError>;
    async fn parameters(&self, dag: &str) -> Result<Option<Vec<RunParameter>>, ProviderError>;
    async fn dag_runs(
        &self,
        scope: &RunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError>;
    async fn dag_run(&self, dag: &str, run: &str) -> Result<Option<Decoded<model::DagRun>>, ProviderError>;
    async fn task_instances(
        &self,
        scope: &TaskRunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::TaskInstance>, ProviderError>;
    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError>;
}

impl Airflow {
    /// Sends no request.
    pub(crate) fn new(
        config: &ConnectorConfig,
        secrets: &Secrets,
        source: Source,
        transport: Transport,
    ) -> Result<Self, ProviderError> {
        let client = Arc::new(Client::new(config, &secrets.headers, transport.clone())?);
        let redaction = Arc::new(Redaction::new(secrets));
        let (shared, known) = (Arc::clone(&client), Arc::clone(&redaction));
        let session = Session::of_any_version(shared, &secrets.credentials, known, transport)?;
        Ok(Self {
            client,
            redaction,
            credentials: secrets.credentials.clone(),
            session: Arc::new(session),
            api_version: config.api_version,
            redact_conf: config.redact_conf.clone(),
            source,
            api: OnceCell::new(),
        })
    }

    /// Makes a call about a subject. Its error names the subject, and holds the provider's words as they may
    /// be shown.
    async fn ask<T>(
        &self,
        subject: Subject,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        call.await.map_err(|error| self.redaction.clean_error(error.about(subject)))
    }

    /// The configured version of the REST API, or the newest that the server has.
    async fn api(&self) -> Result<&dyn RestApi, ProviderError> {
        let api = self.api.get_or_try_init(|| async {
            match self.api_version {
                ApiVersion::V1 => self.v1(),
                ApiVersion::V2 => Ok(self.v2()),
                ApiVersion::Auto if self.has_api("v2").await? => Ok(self.v2()),
                ApiVersion::Auto if self.has_api("v1").await? => self.v1(),
                ApiVersion::Auto => {
                    Err(ProviderError::malformed("neither /api/v2/version nor /api/v1/version is there"))
                }
            }
        });
        Ok(api.await?.as_ref())
    }

    fn v1(&self) -> Result<Box<dyn RestApi>, ProviderError> {
        let session = match &self.credentials {
            Credentials::Basic { username, password } => {
                Arc::new(Session::with_basic(Arc::clone(&self.client), username, password)?)
            }
            _ => Arc::clone(&self.session),
        };
        Ok(Box::new(V1 { session, earlier_runs: EarlierRuns::default() }))
    }

    fn v2(&self) -> Box<dyn RestApi> {
        let session = match &self.credentials {
            Credentials::Basic { username, password } => {
                let (client, redaction) = (Arc::clone(&self.client), Arc::clone(&self.redaction));
                Arc::new(Session::with_login(client, username, password, redaction))
            }
            _ => Arc::clone(&self.session),
        };
        Box::new(V2 { session })
    }

    fn run_event(&self, observation: Observation, run: model::DagRun) -> RunObserved {
        let mut run = normalize::run(&self.source, observation, run);
        if let Some(redacted) = self.redact_conf.redact(run.conf.get()) {
            run.conf = redacted.parse().unwrap_or_default();
        }
        run
    }

    async fn has_api(&self, version: &str) -> Result<bool, ProviderError> {
        let response = self.session.send_get(&["api", version, "version"], Vec::new()).await;
        let response = response.map_err(|error| error.about(Subject::Version))?;
        match response.status {
            404 => Ok(false),
            _ => wire::version(&response).map(|_| true).map_err(|error| error.about(Subject::Version)),
        }
    }
}

#[async_trait]
impl Provider for Airflow {
    async fn version(&self) -> Result<String, ProviderError> {
        let version = async { self.api().await?.version().await };
        let version = self.ask(Subject::Version, version).await?;
        Ok(self.redaction.clean(&version))
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        self.ask(Subject::Pipelines, async { self.api().await?.clock().await }).await
    }

    async fn pipelines(
        &self,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError> {
        let page = self.ask(Subject::Pipelines, async { self.api().await?.dags(page).await }).await?;
        Ok(page.map(|dag| normalize::pipeline(&self.source, observation, dag)))
    }

    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError> {
        self.ask(Subject::Pipeline, async { self.api().await?.has_dag(pipeline).await }).await
    }

    async fn tasks(&self, pipeline: &str) -> Result<Decoded<Vec<TaskNode>>, ProviderError> {
        let tasks = self.ask(Subject::Tasks, async { self.api().await?.tasks(pipeline).await }).await?;
        Ok(tasks.map(normalize::tasks))
    }

    async fn time_zone(&self, pipeline: &str) -> Result<Option<String>, ProviderError> {
        self.ask(Subject::Pipeline, async { self.api().await?.time_zone(pipeline).await }).await
    }

    async fn parameters(&self, pipeline: &str) -> Result<Option<Vec<RunParameter>>, ProviderError> {
        let found = async { self.api().await?.parameters(pipeline).await };
        let found = self.ask(Subject::Parameters, found).await?;
        let redacted = |parameter: RunParameter| parameter.redacted(&self.redact_conf);
        Ok(found.map(|parameters| parameters.into_iter().map(redacted).collect()))
    }

    async fn runs(
        &self,
        scope: &RunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError> {
        let page = self.ask(Subject::Runs, async { self.api().await?.dag_runs(scope, page).await }).await?;
        Ok(page.map(|run| self.run_event(observation, run)))
    }

    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        observation: Observation,
    ) -> Result<Option<Decoded<RunObserved>>, ProviderError> {
        let run = self.ask(Subject::Run, async { self.api().await?.dag_run(pipeline, run).await }).await?;
        Ok(run.map(|run| run.map(|run| self.run_event(observation, run))))
    }

    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError> {
        let page = async { self.api().await?.task_instances(scope, page).await };
        let page = match (self.ask(Subject::TaskRuns, page).await, scope) {
            (Err(ProviderError::Unaddressable { .. }), TaskRunScope::Run { pipeline, run }) => {
                return Ok(look_up::unaddressable_page(&format!("{pipeline}/{run}")));
            }
            (page, _) => page?,
        };
        Ok(page.map(|task| normalize::task_run(&self.source, observation, task)))
    }

    async fn trigger(
        &self,
        pipeline: &str,
        command: &TriggerCommand,
        observation: Observation,
    ) -> Result<RunObserved, ProviderError> {
        let sent = async {
            let api = self.api().await?;
            check_run_id(&command.run)?;
            check_path(pipeline)?;
            api.trigger(pipeline, command).await.map_err(unknown_if_gateway_timeout)
        };
        let run = self.ask(Subject::Trigger, sent).await?;
        Ok(self.run_event(observation, run))
    }

    fn requests(&self) -> u64 {
        self.client.requests()
    }
}

/// Applies the rules of Airflow 3 to both versions: Airflow 2 answers an invalid run id with an opaque 500.
fn check_run_id(run: &str) -> Result<(), ProviderError> {
    if is_run_id(run) {
        return Ok(());
    }
    let message = "A run id is 1 to 250 of the letters A to Z and a to z, digits and _ . ~ : + -".to_owned();
    Err(ProviderError::Refused { status: 400, message })
}

/// Refuses a trigger whose path would lead elsewhere, even to another pipeline.
fn check_path(pipeline: &str) -> Result<(), ProviderError> {
    if client::is_addressable(pipeline) {
        return Ok(());
    }
    let message = "The id of the pipeline does not survive in a path; trigger the run in Airflow".to_owned();
    Err(ProviderError::Refused { status: 400, message })
}

/// The error of a trigger: after a gateway error it is unknown whether Airflow processed the request.
fn unknown_if_gateway_timeout(error: ProviderError) -> ProviderError {
    match error {
        ProviderError::Failing { host, status: status @ (502 | 504), .. } => {
            ProviderError::unreachable(host, &format!("a gateway answered {status}"), true)
        }
        error => error,
    }
}
