//! Bodies that both versions of the REST API share: tasks, task instances and the time zone of a DAG.

use super::client::Response;
use super::error_body;
use super::fields::RowFields;
use super::model::{Task, TaskInstance};
use super::rows::{RowDecoder, body_fields};
use crate::{Decoded, ProviderError};
use contract::state::EntityKind;

/// Of one DAG.
const MAX_TASKS: usize = 50_000;
/// The maximum size of a task graph in an event, in bytes, which Kafka must take together with the rest.
const MAX_GRAPH_SIZE: usize = 6 << 20;
/// What a task takes in an event besides its names, in bytes.
const TASK_SIZE: usize = 64;

/// The version that the server says it has. Any value will do, but there must be one.
pub(super) fn version(response: &Response) -> Result<String, ProviderError> {
    let text = error_body::json(response)?;
    let mut body = body_fields(&text)?;
    if !body.has("version") {
        return Err(ProviderError::malformed("without the version that it must have"));
    }
    Ok(body.text("version").unwrap_or_else(|| "unknown".to_owned()))
}

/// Decodes the tasks of a DAG, never paginated. A task that cannot be read is missing.
///
/// # Errors
/// A graph that is too large for an event is an error, too.
pub(super) fn tasks(response: &Response, dag: &str) -> Result<Decoded<Vec<Task>>, ProviderError> {
    let text = error_body::json(response)?;
    let decoder = RowDecoder { what: EntityKind::Pipeline, ids: &["task_id"], decode: task };
    let mut rows = decoder.rows(&body_fields(&text)?, &["tasks"], MAX_TASKS)?;
    if rows.items.iter().map(size).sum::<usize>() > MAX_GRAPH_SIZE {
        return Err(ProviderError::Oversized { mib: MAX_GRAPH_SIZE >> 20 });
    }
    for entry in &mut rows.unreadable.entries {
        entry.reason = format!("task {}: {}", entry.id, entry.reason);
        dag.clone_into(&mut entry.id);
    }
    Ok(Decoded { value: rows.items, unreadable: rows.unreadable })
}

/// The size of a task in an event, which has both ends of each of its edges.
fn size(task: &Task) -> usize {
    let name = task.task_id.len();
    let edges = task.downstream.iter().map(|downstream| downstream.len() + name + 6);
    name + task.operator.as_ref().map_or(0, String::len) + TASK_SIZE + edges.sum::<usize>()
}

fn task(fields: &mut RowFields<'_>) -> Option<Task> {
    let task_id = fields.id("task_id");
    // Task instances also report the class as their operator.
    let class =
        fields.value("class_ref").and_then(|class| class.get("class_name")?.as_str().map(str::to_owned));
    let operator = class.or_else(|| fields.text("operator_name"));
    let downstream = fields.ids("downstream_task_ids");
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

/// Decodes the time zone of a DAG: a name, which older versions wrap in `Timezone('…')`. None for an offset
/// without a name.
pub(super) fn time_zone(response: &Response) -> Result<Option<String>, ProviderError> {
    let text = error_body::json(response)?;
    let text = body_fields(&text)?.text("timezone").unwrap_or_default();
    let name = text.strip_prefix("Timezone('").and_then(|name| name.strip_suffix("')")).unwrap_or(&text);
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "/_-+".contains(letter);
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && name.len() <= 64;
    Ok((is_name && name.chars().all(is_part)).then(|| name.to_owned()))
}
