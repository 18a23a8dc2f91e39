//! Apache Airflow: which REST version to speak is found out once, and everything it says leaves here in the words of
//! the event contract. How HTTP is done is for `client` and `session`, what Airflow means for `v1` and
//! `v2`, what we make of it for `normalize`.

mod client;
mod error_body;
mod model;
mod normalize;
mod pages;
mod rate_limit;
#[cfg(test)]
mod rebinding;
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

use self::client::Client;
use self::session::Session;
use self::v1::V1;
use self::v2::V2;
use self::wire::Version;
use super::{
    NetworkPolicy, Page, PageToken, Provider, ProviderError, ProviderInfo, RunScope, TaskRunScope,
    TriggerCommand, is_run_id,
};
use crate::connector::{ApiVersion, ConnectorConfig, Credentials, Secrets};
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};

/// One Airflow server, as one connector sees it.
pub(super) struct Airflow {
    client: Arc<Client>,
    credentials: Credentials,
    wanted: ApiVersion,
    source: Source,
    rest: OnceCell<Box<dyn Rest>>,
}

/// A version of the REST API: it knows paths, filters and bodies, and answers in the model.
#[async_trait]
trait Rest: Send + Sync {
    /// Which Airflow it is.
    async fn version(&self) -> Result<String, ProviderError>;
    /// The server's clock, told with an answer that takes the right to list DAGs.
    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError>;
    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError>;
    async fn has_dag(&self, dag: &str) -> Result<bool, ProviderError>;
    async fn tasks(&self, dag: &str) -> Result<Vec<model::Task>, ProviderError>;
    async fn dag_runs(
        &self,
        scope: &RunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError>;
    async fn dag_run(&self, dag: &str, run: &str) -> Result<Option<model::DagRun>, ProviderError>;
    async fn task_instances(
        &self,
        scope: &TaskRunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::TaskInstance>, ProviderError>;
    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError>;
}

impl Airflow {
    /// Sends nothing yet. Names are looked up by `resolver`.
    pub fn new(
        config: &ConnectorConfig,
        secrets: &Secrets,
        source: Source,
        network: NetworkPolicy,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ProviderError> {
        Ok(Self {
            client: Arc::new(Client::new(config, &secrets.headers, network, resolver)?),
            credentials: secrets.credentials.clone(),
            wanted: config.api_version,
            source,
            rest: OnceCell::new(),
        })
    }

    /// The REST version to speak: the one asked for, or the newest that the server answers.
    async fn rest(&self) -> Result<&dyn Rest, ProviderError> {
        let rest = self.rest.get_or_try_init(|| async {
            match self.wanted {
                ApiVersion::V1 => self.v1(),
                ApiVersion::V2 => self.v2(),
                ApiVersion::Auto if self.speaks("v2").await? => self.v2(),
                ApiVersion::Auto if self.speaks("v1").await? => self.v1(),
                ApiVersion::Auto => Err(ProviderError::Malformed {
                    reason: "neither /api/v2/version nor /api/v1/version is there".to_owned(),
                }),
            }
        });
        Ok(rest.await?.as_ref())
    }

    fn v1(&self) -> Result<Box<dyn Rest>, ProviderError> {
        let session = Session::with_basic(Arc::clone(&self.client), &self.credentials)?;
        Ok(Box::new(V1 { session }))
    }

    fn v2(&self) -> Result<Box<dyn Rest>, ProviderError> {
        let session = Session::with_login(Arc::clone(&self.client), &self.credentials)?;
        Ok(Box::new(V2 { session }))
    }

    async fn speaks(&self, api: &str) -> Result<bool, ProviderError> {
        let answer = self.client.get(&self.client.url(&["api", api, "version"]), None).await?;
        match answer.status {
            404 => Ok(false),
            _ => error_body::expect(&answer).map(|_: Version| true),
        }
    }
}

#[async_trait]
impl Provider for Airflow {
    async fn probe(&self) -> Result<ProviderInfo, ProviderError> {
        let rest = self.rest().await?;
        let version = rest.version().await?;
        Ok(ProviderInfo { version, clock: rest.clock().await? })
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        self.rest().await?.clock().await
    }

    async fn pipelines(
        &self,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError> {
        let page = self.rest().await?.dags(page).await?;
        Ok(page.map(|dag| normalize::pipeline(&self.source, seen, dag)))
    }

    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError> {
        self.rest().await?.has_dag(pipeline).await
    }

    async fn tasks(&self, pipeline: &str) -> Result<Vec<TaskNode>, ProviderError> {
        self.rest().await?.tasks(pipeline).await.map(normalize::tasks)
    }

    async fn runs(
        &self,
        scope: &RunScope,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError> {
        let page = self.rest().await?.dag_runs(scope, page).await?;
        Ok(page.map(|run| normalize::run(&self.source, seen, run)))
    }

    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        seen: Observation,
    ) -> Result<Option<RunObserved>, ProviderError> {
        let run = self.rest().await?.dag_run(pipeline, run).await?;
        Ok(run.map(|run| normalize::run(&self.source, seen, run)))
    }

    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        seen: Observation,
        page: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError> {
        let page = self.rest().await?.task_instances(scope, page).await?;
        Ok(page.map(|task| normalize::task_run(&self.source, seen, task)))
    }

    async fn trigger(
        &self,
        pipeline: &str,
        command: &TriggerCommand,
        seen: Observation,
    ) -> Result<RunObserved, ProviderError> {
        let rest = self.rest().await?;
        check_run_id(&command.run)?;
        let run = rest.trigger(pipeline, command).await.map_err(outcome)?;
        Ok(normalize::run(&self.source, seen, run))
    }

    fn requests(&self) -> u64 {
        self.client.requests()
    }
}

/// Refuses what Airflow 3 refuses too: Airflow 2 fails on it with 500, and nobody would know why.
fn check_run_id(run: &str) -> Result<(), ProviderError> {
    match is_run_id(run) {
        true => Ok(()),
        false => Err(ProviderError::Refused {
            status: 400,
            message: "A run id is 1 to 250 of the letters A to Z and a to z, digits and _ . ~ : + -"
                .to_owned(),
        }),
    }
}

/// What an error says of a request that must not be made twice: a gateway that gave up waiting leaves it open what
/// goes on behind it.
fn outcome(error: ProviderError) -> ProviderError {
    match error {
        ProviderError::Failing { host, status: status @ (502 | 504), .. } => {
            ProviderError::Unreachable { host, reason: format!("a gateway answered {status}"), sent: true }
        }
        error => error,
    }
}
