//! Airflow's words become ours, here and nowhere else: a pure function for each kind of thing. An unknown word becomes
//! `unknown` and stays readable as `provider_status`; nothing here can fail.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::model::{Dag, DagRun, Task, TaskInstance};
use crate::connector::AIRFLOW;
use contract::events::{Observation, PipelineObserved, RunObserved, Source, TaskNode, TaskRunObserved};
use contract::ids::{PipelineId, RunId, TaskRunId};
use contract::state::{RunState, RunType, TaskState};

/// Fields of a DAG that change with every parse or run and say nothing of the DAG itself, and a signed token that is
/// nobody's business.
const RESTLESS: [&str; 6] =
    ["last_parsed", "last_parsed_time", "last_parse_duration", "last_expired", "last_pickled", "file_token"];
const RESTLESS_PREFIX: &str = "next_dagrun";
/// In characters.
const LONGEST_NAME: usize = 500;

/// A pipeline without its task graph, which is asked for on its own.
pub(super) fn pipeline(source: &Source, seen: Observation, dag: Dag) -> PipelineObserved {
    let owners = names(dag.owners.iter().flat_map(|owner| owner.split(',')));
    PipelineObserved {
        id: PipelineId::of(source.connector_id, &dag.dag_id),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        version: seen.version,
        observed_at: seen.at,
        deleted: false,
        provider_status: None,
        name: text(dag.display_name).map_or_else(|| dag.dag_id.clone(), shortened),
        external_id: dag.dag_id,
        description: dag.description.map(storable),
        owner: owners.first().cloned(),
        owners,
        tags: names(dag.tags.iter().map(String::as_str)),
        schedule: dag.schedule.map(storable),
        is_paused: dag.is_paused,
        is_active: !dag.is_stale,
        external_url: Some(dag.url),
        // Airflow goes on reckoning for a paused DAG, at every parse anew, and never runs it.
        next_run_at: dag.next_run_at.filter(|_| !dag.is_paused),
        provider_metadata: metadata(dag.given),
        tasks: Vec::new(),
        first_seen_at: seen.at,
    }
}

/// The graph: Airflow tells each task's downstream neighbours, the upstream ones follow.
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

/// A run.
pub(super) fn run(source: &Source, seen: Observation, run: DagRun) -> RunObserved {
    RunObserved {
        id: RunId::of(source.connector_id, &run.dag_id, &run.run_id),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        external_id: run.run_id,
        version: seen.version,
        observed_at: seen.at,
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
        conf: conf(run.conf),
        note: text(run.note),
        triggered_by: None,
        external_url: Some(run.url),
    }
}

/// A task run.
pub(super) fn task_run(source: &Source, seen: Observation, task: TaskInstance) -> TaskRunObserved {
    let TaskInstance { dag_id, run_id, task_id, map_index, .. } = task;
    TaskRunObserved {
        id: TaskRunId::of(source.connector_id, &dag_id, &run_id, &task_id, map_index),
        space: source.space.clone(),
        connector_id: source.connector_id,
        provider: AIRFLOW.to_owned(),
        external_id: format!("{dag_id}/{run_id}/{task_id}/{map_index}"),
        version: seen.version,
        observed_at: seen.at,
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
        duration_seconds: task.duration.or_else(|| seconds(task.start_date, task.end_date)),
        pool: task.pool.map(storable),
        queue: text(task.queue),
        hostname: text(task.hostname),
    }
}

fn run_state(word: &str) -> RunState {
    match word {
        "queued" => RunState::Queued,
        "running" => RunState::Running,
        "success" => RunState::Success,
        "failed" => RunState::Failed,
        _ => RunState::Unknown,
    }
}

fn run_type(word: &str) -> RunType {
    match word {
        "scheduled" => RunType::Scheduled,
        "manual" | "operator_triggered" | "asset_materialization" => RunType::Manual,
        "backfill" => RunType::Backfill,
        "asset_triggered" | "dataset_triggered" => RunType::AssetTriggered,
        _ => RunType::Unknown,
    }
}

fn task_state(word: &str) -> TaskState {
    match word {
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

/// Nothing where there is nothing to read.
fn text(given: Option<String>) -> Option<String> {
    given.filter(|given| !given.is_empty()).map(storable)
}

/// Names are sorted and searched by, and PostgreSQL's indexes take no longer ones.
fn shortened(name: String) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// PostgreSQL keeps any text but one with a NUL in it.
fn storable(given: String) -> String {
    if given.contains('\0') { given.replace('\0', "\u{fffd}") } else { given }
}

fn storable_json(given: Value) -> Value {
    match given {
        Value::String(text) => Value::String(storable(text)),
        Value::Array(items) => items.into_iter().map(storable_json).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (storable(name), storable_json(value))).collect()
        }
        other => other,
    }
}

/// Trimmed, without doubles, sorted.
fn names<'a>(given: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<_> = given.map(str::trim).filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).map(storable).collect()
}

fn seconds(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Option<f64> {
    let microseconds = (end? - start?).num_microseconds()?;
    Some(microseconds as f64 / 1e6)
}

/// Always an object, as the contract says: what is none is kept under a key of its own.
fn conf(given: Value) -> Value {
    match storable_json(given) {
        Value::Null => json!({}),
        Value::Object(fields) => Value::Object(fields),
        other => json!({ "conf": other }),
    }
}

/// What was given, less what changes without meaning; lists that come in any order are sorted.
fn metadata(mut given: Value) -> Value {
    let Some(fields) = given.as_object_mut() else { return json!({}) };
    fields.retain(|name, _| !RESTLESS.contains(&name.as_str()) && !name.starts_with(RESTLESS_PREFIX));
    for list in ["owners", "tags"] {
        if let Some(Value::Array(items)) = fields.get_mut(list) {
            items.sort_by_key(Value::to_string);
        }
    }
    storable_json(given)
}

#[cfg(test)]
mod tests;
