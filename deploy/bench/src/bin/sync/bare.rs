//! A bare crawl for comparison: the same requests with the same concurrency, and the responses are discarded.

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

/// The number of pipelines that a sync reads concurrently.
const CONCURRENCY: usize = 4;

pub(crate) struct CrawlCost {
    pub duration: Duration,
    pub requests: u64,
    pub rows: usize,
}

pub(crate) async fn crawl(airflow: &AirflowServer) -> anyhow::Result<CrawlCost> {
    let provider = open(airflow)?;
    let provider = provider.as_ref();
    let started = Instant::now();
    let since = Utc::now() - TimeDelta::days(i64::from(installation::HISTORY_DAYS));
    let pipelines = read_pages(async |page| provider.pipelines(observation(), page).await).await?;
    let names: Vec<String> = pipelines.into_iter().map(|pipeline| pipeline.external_id).collect();
    let rows = stream::iter(&names)
        .map(|name| read_history(provider, name, since))
        .buffer_unordered(CONCURRENCY)
        .try_fold(names.len(), async |sum, rows| Ok(sum + rows))
        .await?;
    Ok(CrawlCost { duration: started.elapsed(), requests: provider.requests(), rows })
}

async fn read_history(
    provider: &dyn Provider,
    name: &str,
    since: DateTime<Utc>,
) -> Result<usize, ProviderError> {
    let pipeline = name.to_owned();
    provider.tasks(name).await?;
    let scope = RunScope::Pipeline { pipeline: pipeline.clone(), since };
    let runs = read_pages(async |page| provider.runs(&scope, observation(), page).await).await?;
    let scope = TaskRunScope::Pipeline { pipeline, since };
    let task_runs = read_pages(async |page| provider.task_runs(&scope, observation(), page).await).await?;
    Ok(runs.len() + task_runs.len())
}

async fn read_pages<T>(
    read: impl AsyncFn(Option<&PageToken>) -> Result<Page<T>, ProviderError>,
) -> Result<Vec<T>, ProviderError> {
    let mut items = Vec::new();
    let mut page = None;
    loop {
        let page_content = read(page.as_ref()).await?;
        items.extend(page_content.items);
        page = page_content.next;
        if page.is_none() {
            return Ok(items);
        }
    }
}

fn observation() -> Observation {
    Observation { version: 1, at: Utc::now() }
}

fn open(airflow: &AirflowServer) -> anyhow::Result<Box<dyn Provider>> {
    let config: ConnectorConfig = serde_json::from_value(installation::config(airflow))?;
    let credentials =
        Credentials::Basic { username: airflow.username.clone(), password: airflow.password.clone().into() };
    let source = Source { space: "bench".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    let network = NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() };
    Ok(provider::open(&config, &credentials.into(), source, &network)?)
}
