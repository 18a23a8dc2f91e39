//! Apache Airflow: detects the version of the REST API once and returns events of the contract. `client` and
//! `session` send the requests, `v1` and `v2` implement the two API versions, and `normalize` maps Airflow's
//! entities to events.

mod client;
mod error_body;
mod fields;
mod json_text;
mod look_up;
mod model;
mod normalize;
mod pages;
mod rate_limit;
#[cfg(test)]
mod rebinding;
mod rows;
#[cfg(test)]
mod scripted_resolver;
mod session;
mod v1;
mod v2;
mod windows;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::dns::Resolve;
use tokio::sync::OnceCell;

use self::client::{Client, is_addressable};
use self::session::Session;
use self::v1::V1;
use self::v2::V2;
use self::wire::Version;
use crate::connector::{ApiVersion, ConnectorConfig, Credentials, Secrets};
use crate::{
    Decoded, NetworkPolicy, Page, PageToken, Provider, ProviderError, ProviderInfo, RunScope, TaskRunScope,
    TriggerCommand, is_run_id,
};
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};

/// The Airflow server of one connector.
pub(super) struct Airflow {
    client: Arc<Client>,
    credentials: Credentials,
    api_version: ApiVersion,
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
    /// Sends no request. `resolver` resolves the host name.
    pub(crate) fn new(
        config: &ConnectorConfig,
        secrets: &Secrets,
        source: Source,
        network: NetworkPolicy,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ProviderError> {
        Ok(Self {
            client: Arc::new(Client::new(config, &secrets.headers, network, resolver)?),
            credentials: secrets.credentials.clone(),
            api_version: config.api_version,
            source,
            api: OnceCell::new(),
        })
    }

    /// The configured version of the REST API, or the newest that the server has.
    async fn api(&self) -> Result<&dyn RestApi, ProviderError> {
        let api = self.api.get_or_try_init(|| async {
            match self.api_version {
                ApiVersion::V1 => self.v1(),
                ApiVersion::V2 => self.v2(),
                ApiVersion::Auto if self.has_api("v2").await? => self.v2(),
                ApiVersion::Auto if self.has_api("v1").await? => self.v1(),
                ApiVersion::Auto => {
                    Err(ProviderError::malformed("neither /api/v2/version nor /api/v1/version is there"))
                }
            }
        });
        Ok(api.await?.as_ref())
    }

    fn v1(&self) -> Result<Box<dyn RestApi>, ProviderError> {
        let session = Session::with_basic(Arc::clone(&self.client), &self.credentials)?;
        Ok(Box::new(V1 { session }))
    }

    fn v2(&self) -> Result<Box<dyn RestApi>, ProviderError> {
        let session = Session::with_login(Arc::clone(&self.client), &self.credentials)?;
        Ok(Box::new(V2 { session }))
    }

    async fn has_api(&self, version: &str) -> Result<bool, ProviderError> {
        let response = self.client.get(&self.client.url(&["api", version, "version"]), None).await?;
        match response.status {
            404 => Ok(false),
            _ => error_body::expect(&response).map(|_: Version| true),
        }
    }
}

#[async_trait]
impl Provider for Airflow {
    async fn probe(&self) -> Result<ProviderInfo, ProviderError> {
        let api = self.api().await?;
        let version = api.version().await?;
        Ok(ProviderInfo { version, clock: api.clock().await? })
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        self.api().await?.clock().await
    }

    async fn pipelines(
        &self,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError> {
        let page = self.api().await?.dags(page).await?;
        Ok(page.map(|dag| normalize::pipeline(&self.source, observation, dag)))
    }

    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError> {
        self.api().await?.has_dag(pipeline).await
    }

    async fn tasks(&self, pipeline: &str) -> Result<Decoded<Vec<TaskNode>>, ProviderError> {
        Ok(self.api().await?.tasks(pipeline).await?.map(normalize::tasks))
    }

    async fn runs(
        &self,
        scope: &RunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError> {
        let page = self.api().await?.dag_runs(scope, page).await?;
        Ok(page.map(|run| normalize::run(&self.source, observation, run)))
    }

    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        observation: Observation,
    ) -> Result<Option<Decoded<RunObserved>>, ProviderError> {
        let run = self.api().await?.dag_run(pipeline, run).await?;
        Ok(run.map(|run| run.map(|run| normalize::run(&self.source, observation, run))))
    }

    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        observation: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError> {
        if let TaskRunScope::Run { pipeline, run } = scope
            && !(is_addressable(pipeline) && is_addressable(run))
        {
            return Ok(look_up::unaddressable_page(&format!("{pipeline}/{run}")));
        }
        let page = self.api().await?.task_instances(scope, page).await?;
        Ok(page.map(|task| normalize::task_run(&self.source, observation, task)))
    }

    async fn trigger(
        &self,
        pipeline: &str,
        command: &TriggerCommand,
        observation: Observation,
    ) -> Result<RunObserved, ProviderError> {
        let api = self.api().await?;
        check_run_id(&command.run)?;
        let run = api.trigger(pipeline, command).await.map_err(unknown_if_gateway_timeout)?;
        Ok(normalize::run(&self.source, observation, run))
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

/// The error of a trigger: after a gateway error it is unknown whether Airflow processed the request.
fn unknown_if_gateway_timeout(error: ProviderError) -> ProviderError {
    match error {
        ProviderError::Failing { host, status: status @ (502 | 504), .. } => {
            ProviderError::unreachable(host, &format!("a gateway answered {status}"), true)
        }
        error => error,
    }
}
