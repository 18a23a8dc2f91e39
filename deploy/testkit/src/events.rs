//! Builders of events with few values; a test sets the fields that it checks.

use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskRunObserved};
use contract::ids::{PipelineId, RunId, TaskRunId};
use contract::state::{RunState, RunType, TaskState};

pub fn pipeline(source: &Source, name: &str, observation: Observation) -> PipelineObserved {
    PipelineObserved {
        id: PipelineId::of(source.connector_id, name),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: "airflow".to_owned(),
        external_id: name.to_owned(),
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        provider_status: None,
        name: name.to_owned(),
        description: None,
        owner: None,
        owners: Vec::new(),
        tags: Vec::new(),
        schedule: None,
        is_paused: false,
        is_active: true,
        external_url: None,
        next_run_at: None,
        provider_metadata: serde_json::json!({}),
        tasks: Vec::new(),
        first_seen_at: observation.at,
    }
}

pub fn run(
    source: &Source,
    pipeline: &str,
    name: &str,
    status: RunState,
    observation: Observation,
) -> RunObserved {
    RunObserved {
        id: RunId::of(source.connector_id, pipeline, name),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: "airflow".to_owned(),
        external_id: name.to_owned(),
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        pipeline_id: PipelineId::of(source.connector_id, pipeline),
        pipeline_external_id: pipeline.to_owned(),
        status,
        provider_status: Some(status.to_string()),
        run_type: RunType::Manual,
        logical_date: None,
        data_interval_start: None,
        data_interval_end: None,
        run_after: None,
        queued_at: None,
        started_at: None,
        ended_at: None,
        duration_seconds: None,
        conf: serde_json::json!({}).into(),
        conf_bytes: None,
        truncated: false,
        note: None,
        triggered_by: None,
        external_url: None,
    }
}

/// A task run, given by its pipeline, run, task and map index.
pub fn task_run(
    source: &Source,
    (pipeline, run, task, map_index): (&str, &str, &str, i32),
    status: TaskState,
    observation: Observation,
) -> TaskRunObserved {
    TaskRunObserved {
        id: TaskRunId::of(source.connector_id, pipeline, run, task, map_index),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: "airflow".to_owned(),
        external_id: format!("{pipeline}/{run}/{task}/{map_index}"),
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        pipeline_id: PipelineId::of(source.connector_id, pipeline),
        pipeline_external_id: pipeline.to_owned(),
        run_id: RunId::of(source.connector_id, pipeline, run),
        run_external_id: run.to_owned(),
        task_id: task.to_owned(),
        map_index,
        name: task.to_owned(),
        operator: None,
        status,
        provider_status: Some(status.to_string()),
        try_number: 1,
        max_tries: 0,
        queued_at: None,
        started_at: None,
        ended_at: None,
        duration_seconds: None,
        pool: None,
        queue: None,
        hostname: None,
    }
}
