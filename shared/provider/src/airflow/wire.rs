//! Bodies that both versions of the REST API share: tasks and task instances.

use serde::Deserialize;

use super::client::Response;
use super::error_body;
use super::fields::RowFields;
use super::model::{Task, TaskInstance};
use super::rows::{RowDecoder, body_fields};
use crate::{Decoded, ProviderError};
use contract::state::EntityKind;

/// Of one DAG.
const MAX_TASKS: usize = 50_000;

/// The version of the server.
#[derive(Deserialize)]
pub(super) struct Version {
    pub version: String,
}

/// Decodes the tasks of a DAG, never paginated. A task that cannot be read is missing.
pub(super) fn tasks(response: &Response, dag: &str) -> Result<Decoded<Vec<Task>>, ProviderError> {
    let text = error_body::json(response)?;
    let decoder = RowDecoder { what: EntityKind::Pipeline, ids: &["task_id"], decode: task };
    let mut rows = decoder.rows(&body_fields(&text)?, &["tasks"], MAX_TASKS)?;
    for entry in &mut rows.unreadable.entries {
        entry.reason = format!("task {}: {}", entry.id, entry.reason);
        dag.clone_into(&mut entry.id);
    }
    Ok(Decoded { value: rows.items, unreadable: rows.unreadable })
}

fn task(fields: &mut RowFields<'_>) -> Option<Task> {
    let task_id = fields.id("task_id");
    // Task instances also report the class as their operator.
    let class =
        fields.value("class_ref").and_then(|class| class.get("class_name")?.as_str().map(str::to_owned));
    let operator = class.or_else(|| fields.text("operator_name"));
    let downstream = fields.texts("downstream_task_ids");
    Some(Task { task_id: task_id?, operator, downstream })
}

/// Decodes task instances.
pub(super) const TASK_INSTANCES: RowDecoder<fn(&mut RowFields<'_>) -> Option<TaskInstance>> = RowDecoder {
    what: EntityKind::TaskRun,
    ids: &["dag_id", "dag_run_id", "task_id", "map_index"],
    decode: task_instance,
};

fn task_instance(fields: &mut RowFields<'_>) -> Option<TaskInstance> {
    let (dag_id, run_id, task_id) = (fields.id("dag_id"), fields.id("dag_run_id"), fields.id("task_id"));
    let map_index = if fields.raw("map_index").is_some() { fields.integer("map_index") } else { Some(-1) };
    Some(TaskInstance {
        dag_id: dag_id?,
        run_id: run_id?,
        task_id: task_id?,
        map_index: map_index?,
        run_date: fields.time("run_after").or_else(|| fields.time("execution_date")),
        display_name: fields.text("task_display_name"),
        operator: fields.text("operator"),
        state: fields.state("state"),
        try_number: fields.integer("try_number").unwrap_or_default(),
        max_tries: fields.integer("max_tries").unwrap_or_default(),
        queued_when: fields.time("queued_when"),
        start_date: fields.time("start_date"),
        end_date: fields.time("end_date"),
        duration: fields.number("duration"),
        pool: fields.text("pool"),
        queue: fields.text("queue"),
        hostname: fields.text("hostname"),
    })
}
