//! The least that reading all of it could cost: the same requests, as many at a time, and nothing done with
//! the answers.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{Observation, Source};
use contract::ids::ConnectorId;
use futures::{StreamExt, TryStreamExt, stream};
use local::AirflowServer;
use provider::connector::{ConnectorConfig, Credentials};
use provider::{self, NetworkPolicy, Page, PageToken, Provider, ProviderError, RunScope, TaskRunScope};
use uuid::Uuid;

use crate::installation;

/// As many pipelines at a time as a sync reads.
const AT_ONCE: usize = 4;

pub(crate) struct Crawl {
    pub took: Duration,
    pub requests: u64,
    pub rows: usize,
}

pub(crate) async fn crawl(airflow: &AirflowServer) -> anyhow::Result<Crawl> {
    let provider = open(airflow)?;
    let provider = provider.as_ref();
    let began = Instant::now();
    let since = Utc::now() - TimeDelta::days(i64::from(installation::HISTORY_DAYS));
    let pipelines = all(async |page| provider.pipelines(seen(), page).await).await?;
    let names: Vec<String> = pipelines.into_iter().map(|pipeline| pipeline.external_id).collect();
    let rows = stream::iter(&names)
        .map(|name| history(provider, name, since))
        .buffer_unordered(AT_ONCE)
        .try_fold(names.len(), async |sum, rows| Ok(sum + rows))
        .await?;
    Ok(Crawl { took: began.elapsed(), requests: provider.requests(), rows })
}

async fn history(provider: &dyn Provider, name: &str, since: DateTime<Utc>) -> Result<usize, ProviderError> {
    let pipeline = name.to_owned();
    provider.tasks(name).await?;
    let scope = RunScope::Pipeline { pipeline: pipeline.clone(), since };
    let runs = all(async |page| provider.runs(&scope, seen(), page).await).await?;
    let scope = TaskRunScope::Pipeline { pipeline, since };
    let task_runs = all(async |page| provider.task_runs(&scope, seen(), page).await).await?;
    Ok(runs.len() + task_runs.len())
}

async fn all<T>(
    read: impl AsyncFn(Option<&PageToken>) -> Result<Page<T>, ProviderError>,
) -> Result<Vec<T>, ProviderError> {
    let mut items = Vec::new();
    let mut page = None;
    loop {
        let found = read(page.as_ref()).await?;
        items.extend(found.items);
        page = found.next;
        if page.is_none() {
            return Ok(items);
        }
    }
}

fn seen() -> Observation {
    Observation { version: 1, at: Utc::now() }
}

fn open(airflow: &AirflowServer) -> anyhow::Result<Box<dyn Provider>> {
    let config: ConnectorConfig = serde_json::from_value(installation::config(airflow))?;
    let credentials =
        Credentials::Basic { username: airflow.username.clone(), password: airflow.password.clone().into() };
    let source = Source { space: "bench".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    Ok(provider::open(&config, &credentials.into(), source, NetworkPolicy { allow_private_networks: true })?)
}
