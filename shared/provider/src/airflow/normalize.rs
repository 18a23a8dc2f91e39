//! Maps Airflow's entities to events: one pure, infallible function per entity. An unknown state becomes
//! `unknown`, and the original is kept in `provider_status`. `airflow.rs` calls it for each row that `v1` or
//! `v2` has decoded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::model::{Conf, Dag, DagRun, Task, TaskInstance};
use crate::connector::AIRFLOW;
use contract::events::{
    Observation, PipelineObserved, RunConf, RunObserved, Source, TaskNode, TaskRunObserved,
};
use contract::ids::{PipelineId, RunId, TaskRunId};
use contract::state::{RunState, RunType, TaskState};

/// Fields of a DAG that change with every parse or run without a change of the DAG, and a signed token.
const VOLATILE_FIELDS: [&str; 6] =
    ["last_parsed", "last_parsed_time", "last_parse_duration", "last_expired", "last_pickled", "file_token"];
/// The commit of the DAG's bundle: it changes for all DAGs of the bundle at once, whichever of them changed.
const BUNDLE_VERSION: &str = "bundle_version";
const VOLATILE_PREFIX: &str = "next_dagrun";
/// The time zone of the schedule.
const TIME_ZONE: &str = "timezone";
/// Maximum length of a name, in characters. Names are indexed, and PostgreSQL limits the size of an index
/// entry.
const MAX_NAME_LENGTH: usize = 500;

/// Maps a DAG, without its task graph, which is a separate request.
pub(super) fn pipeline(source: &Source, observation: Observation, dag: Dag) -> PipelineObserved {
    let owners = names(dag.owners.iter().flat_map(|owner| owner.split(',')));
    PipelineObserved {
        id: PipelineId::of(source.connector_id, &dag.dag_id),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        provider_status: None,
        name: text(dag.display_name).map_or_else(|| dag.dag_id.clone(), truncated_name),
        external_id: dag.dag_id,
        description: dag.description.map(storable),
        owner: owners.first().cloned(),
        owners,
        tags: names(dag.tags.iter().map(String::as_str)),
        schedule: dag.schedule.map(storable),
        is_paused: dag.is_paused,
        is_active: !dag.is_stale,
        external_url: Some(dag.url),
        // Airflow computes the next run of a paused DAG at every parse, but does not start it.
        next_run_at: dag.next_run_at.filter(|_| !dag.is_paused),
        provider_metadata: metadata(dag.raw),
        tasks: Vec::new(),
        first_seen_at: observation.at,
    }
}

/// Builds the task graph. Airflow reports the downstream tasks of each task; the upstream tasks follow from
/// them.
pub(super) fn tasks(tasks: Vec<Task>) -> Vec<TaskNode> {
    let mut upstream: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for task in &tasks {
        for downstream in &task.downstream {
            upstream.entry(downstream.clone()).or_default().insert(task.task_id.clone());
        }
    }
    let nodes = tasks.into_iter().map(|task| {
        let upstream = upstream.remove(&task.task_id).unwrap_or_default();
        let downstream: BTreeSet<_> = task.downstream.into_iter().collect();
        let node = TaskNode {
            task_id: task.task_id.clone(),
            operator: task.operator.map(storable),
            upstream: upstream.into_iter().collect(),
            downstream: downstream.into_iter().collect(),
        };
        (task.task_id, node)
    });
    nodes.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Maps a DAG run.
pub(super) fn run(source: &Source, observation: Observation, run: DagRun) -> RunObserved {
    let (conf, conf_bytes) = match run.conf {
        Conf::Read(value) => (conf(value), None),
        Conf::LeftOut(bytes) => (RunConf::default(), Some(bytes)),
    };
    RunObserved {
        id: RunId::of(source.connector_id, &run.dag_id, &run.run_id),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        external_id: run.run_id,
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        pipeline_id: PipelineId::of(source.connector_id, &run.dag_id),
        pipeline_external_id: run.dag_id,
        status: run.state.as_deref().map_or(RunState::Unknown, run_state),
        provider_status: run.state.map(storable),
        run_type: run.run_type.as_deref().map_or(RunType::Unknown, run_type),
        logical_date: run.logical_date,
        data_interval_start: run.data_interval_start,
        data_interval_end: run.data_interval_end,
        run_after: run.run_after,
        queued_at: run.queued_at,
        started_at: run.start_date,
        ended_at: run.end_date,
        duration_seconds: seconds(run.start_date, run.end_date),
        conf,
        conf_bytes,
        truncated: conf_bytes.is_some(),
        note: text(run.note),
        triggered_by: None,
        external_url: Some(run.url),
    }
}

/// Maps a task instance.
pub(super) fn task_run(source: &Source, observation: Observation, task: TaskInstance) -> TaskRunObserved {
    let TaskInstance { dag_id, run_id, task_id, map_index, .. } = task;
    TaskRunObserved {
        id: TaskRunId::of(source.connector_id, &dag_id, &run_id, &task_id, map_index),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        external_id: format!("{dag_id}/{run_id}/{task_id}/{map_index}"),
        version: observation.version,
        observed_at: observation.at,
        deleted: false,
        pipeline_id: PipelineId::of(source.connector_id, &dag_id),
        run_id: RunId::of(source.connector_id, &dag_id, &run_id),
        pipeline_external_id: dag_id,
        run_external_id: run_id,
        name: text(task.display_name).unwrap_or_else(|| task_id.clone()),
        task_id,
        map_index,
        operator: task.operator.map(storable),
        status: task.state.as_deref().map_or(TaskState::Pending, task_state),
        provider_status: task.state.map(storable),
        try_number: task.try_number,
        max_tries: task.max_tries,
        queued_at: task.queued_when,
        started_at: task.start_date,
        ended_at: task.end_date,
        duration_seconds: task
            .duration
            .filter(|seconds| *seconds >= 0.0)
            .or_else(|| seconds(task.start_date, task.end_date)),
        pool: task.pool.map(storable),
        queue: text(task.queue),
        hostname: text(task.hostname),
    }
}

fn run_state(state: &str) -> RunState {
    match state {
        "queued" => RunState::Queued,
        "running" => RunState::Running,
        "success" => RunState::Success,
        "failed" => RunState::Failed,
        _ => RunState::Unknown,
    }
}

fn run_type(run_type: &str) -> RunType {
    match run_type {
        "scheduled" => RunType::Scheduled,
        "manual" | "operator_triggered" | "asset_materialization" => RunType::Manual,
        "backfill" => RunType::Backfill,
        "asset_triggered" | "dataset_triggered" => RunType::AssetTriggered,
        _ => RunType::Unknown,
    }
}

fn task_state(state: &str) -> TaskState {
    match state {
        "scheduled" | "up_for_reschedule" => TaskState::Scheduled,
        "queued" => TaskState::Queued,
        "running" => TaskState::Running,
        "success" => TaskState::Success,
        "failed" => TaskState::Failed,
        "up_for_retry" | "restarting" => TaskState::Retrying,
        "skipped" => TaskState::Skipped,
        "upstream_failed" => TaskState::UpstreamFailed,
        "deferred" | "awaiting_input" => TaskState::Deferred,
        "removed" => TaskState::Removed,
        _ => TaskState::Unknown,
    }
}

/// An empty text becomes none.
fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(storable)
}

fn truncated_name(name: String) -> String {
    match name.char_indices().nth(MAX_NAME_LENGTH) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// Replaces NUL, which PostgreSQL cannot store.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn storable_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(text)),
        Value::Array(items) => items.into_iter().map(storable_json).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (storable(name), storable_json(value))).collect()
        }
        other => other,
    }
}

/// Trimmed, without duplicates, sorted.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<_> = names.map(str::trim).filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).map(storable).collect()
}

/// The time between the two; none if the end is before the start, as clearing a run can leave it.
fn seconds(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Option<f64> {
    let microseconds = (end? - start?).num_microseconds()?;
    (microseconds >= 0).then_some(microseconds as f64 / 1e6)
}

/// The contract requires an object: any other value is wrapped in one.
fn conf(value: RunConf) -> RunConf {
    match value.get() {
        "null" => json!({}).into(),
        text if text.starts_with('{') => value,
        _ => json!({ "conf": value }).into(),
    }
}

/// Removes volatile fields and sorts unordered lists, so that equal DAGs have equal metadata.
fn metadata(mut value: Value) -> Value {
    let Some(fields) = value.as_object_mut() else { return json!({}) };
    fields.retain(|name, _| !VOLATILE_FIELDS.contains(&name.as_str()) && !name.starts_with(VOLATILE_PREFIX));
    for list in ["owners", "tags"] {
        if let Some(Value::Array(items)) = fields.get_mut(list) {
            items.sort_by_key(Value::to_string);
        }
    }
    storable_json(value)
}

/// A pipeline with this time zone of its schedule, which no list contains: it is read with the task graph.
pub fn with_time_zone(mut pipeline: PipelineObserved, zone: Option<String>) -> PipelineObserved {
    if let Some(fields) = pipeline.provider_metadata.as_object_mut() {
        fields.remove(TIME_ZONE);
        fields.extend(zone.map(|zone| (TIME_ZONE.to_owned(), zone.into())));
    }
    pipeline
}

/// A listed pipeline with the time zone that was read before.
pub fn with_time_zone_of(before: &PipelineObserved, listed: PipelineObserved) -> PipelineObserved {
    let zone = before.provider_metadata.get(TIME_ZONE).and_then(Value::as_str);
    with_time_zone(listed, zone.map(str::to_owned))
}

/// Whether two observations of a pipeline differ only in what changes without a change of its definition: the
/// next run and the commit of its bundle. Their task graphs are not compared.
pub fn is_same_definition(before: &PipelineObserved, now: &PipelineObserved) -> bool {
    fn definition(pipeline: &PipelineObserved) -> impl PartialEq + '_ {
        let PipelineObserved {
            id,
            space,
            connector_id,
            provider,
            external_id,
            version: _,
            observed_at: _,
            deleted,
            provider_status,
            name,
            description,
            owner,
            owners,
            tags,
            schedule,
            is_paused,
            is_active,
            external_url,
            next_run_at: _,
            provider_metadata,
            tasks: _,
            first_seen_at,
        } = pipeline;
        let metadata = provider_metadata.as_object().into_iter().flatten();
        let metadata: Vec<_> = metadata.filter(|(name, _)| *name != BUNDLE_VERSION).collect();
        (
            (id, space, connector_id, provider, external_id, deleted, provider_status, first_seen_at),
            (name, description, owner, owners, tags, schedule, is_paused, is_active, external_url),
            metadata,
        )
    }
    definition(before) == definition(now)
}

#[cfg(test)]
mod tests;
