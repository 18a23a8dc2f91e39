//! The check of a connector's settings: every request that a sync needs is sent once.

use chrono::Utc;
use contract::events::Observation;

use crate::{Provider, ProviderError, ProviderInfo, RunScope, TaskRunScope};

/// What a sync would fail with.
#[derive(Debug)]
pub struct CheckFailure {
    /// None if not even the version could be read.
    pub info: Option<ProviderInfo>,
    /// The errors of the requests that failed, at least one.
    pub errors: Vec<ProviderError>,
}

/// Sends every request that a sync needs: the version, the lists of pipelines, runs and task runs, and the
/// tasks of a pipeline if there is one.
///
/// # Errors
/// All that failed, so that an operator does not find them one after another.
pub async fn check(provider: &dyn Provider) -> Result<ProviderInfo, CheckFailure> {
    let info = match provider.probe().await {
        Ok(info) => info,
        Err(error) => return Err(CheckFailure { info: None, errors: vec![error] }),
    };
    let observation = Observation { version: 0, at: Utc::now() };
    let (run_scope, task_run_scope) =
        (RunScope::ChangedSince(info.clock), TaskRunScope::ChangedSince(info.clock));
    let (graph, runs, task_runs) = tokio::join!(
        check_pipelines(provider, observation),
        provider.runs(&run_scope, observation, None),
        provider.task_runs(&task_run_scope, observation, None),
    );
    let outcomes = [graph, runs.map(drop), task_runs.map(drop)];
    let errors: Vec<ProviderError> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(info) } else { Err(CheckFailure { info: Some(info), errors }) }
}

async fn check_pipelines(provider: &dyn Provider, observation: Observation) -> Result<(), ProviderError> {
    let listed = provider.pipelines(observation, None).await?;
    let Some(pipeline) = listed.items.into_iter().find(|pipeline| pipeline.is_active) else { return Ok(()) };
    match provider.tasks(&pipeline.external_id).await {
        // It was deleted meanwhile.
        Err(ProviderError::Refused { status: 404, .. }) => Ok(()),
        tasks => tasks.map(drop),
    }
}
