//! The check of a connector's settings: every request that a sync needs is sent once.

use chrono::Utc;
use contract::events::Observation;

use crate::{Provider, ProviderError, RunScope, TaskRunScope};

/// What a sync would fail with.
#[derive(Debug)]
pub struct CheckFailure {
    /// None if not even the version could be read.
    pub version: Option<String>,
    /// The errors of the requests that failed, at least one.
    pub errors: Vec<ProviderError>,
}

/// Sends every request that a sync needs: the version, the lists of pipelines, runs and task runs, and the
/// tasks of a pipeline if there is one. Returns the version.
///
/// # Errors
/// All that failed, so that an operator does not find them one after another. An error that is not about one
/// list, such as refused credentials, is the only one.
pub async fn check(provider: &dyn Provider) -> Result<String, CheckFailure> {
    let version = provider.version().await;
    let version = version.map_err(|error| CheckFailure { version: None, errors: vec![error] })?;
    let outcomes = match provider.clock().await {
        Err(error) if !is_about_one_list(&error) => vec![Err(error)],
        clock => check_lists(provider, clock.map(drop)).await,
    };
    let errors: Vec<ProviderError> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(version) } else { Err(CheckFailure { version: Some(version), errors }) }
}

/// The clock comes with the list of pipelines.
async fn check_lists(
    provider: &dyn Provider,
    clock: Result<(), ProviderError>,
) -> Vec<Result<(), ProviderError>> {
    let observation = Observation { version: 0, at: Utc::now() };
    let (run_scope, task_run_scope) =
        (RunScope::ChangedSince(observation.at), TaskRunScope::ChangedSince(observation.at));
    let pipelines = async {
        clock?;
        check_pipelines(provider, observation).await
    };
    let (pipelines, runs, task_runs) = tokio::join!(
        pipelines,
        provider.runs(&run_scope, observation, None),
        provider.task_runs(&task_run_scope, observation, None),
    );
    vec![pipelines, runs.map(drop), task_runs.map(drop)]
}

fn is_about_one_list(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Unreachable { sent: true, .. }
            | ProviderError::Failing { .. }
            | ProviderError::Forbidden { .. }
            | ProviderError::Refused { .. }
            | ProviderError::Malformed { .. }
            | ProviderError::Oversized { .. }
    )
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
