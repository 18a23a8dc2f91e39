//! Bodies that both versions of the REST API share: lists, tasks and task instances.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::model;

/// Any list. The items are required, even if they are empty: a body without them is not a list.
#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(rename = "dags", alias = "dag_runs", alias = "task_instances")]
    pub items: Vec<T>,
    pub total_entries: Option<u64>,
    /// Absent before Airflow 3.3; null on the last page.
    #[serde(default, deserialize_with = "present")]
    pub next_cursor: Option<Option<String>>,
    /// The server's clock at the time of the response, to the second, if it is known.
    #[serde(skip)]
    pub clock: Option<DateTime<Utc>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The version of the server.
#[derive(Deserialize)]
pub(super) struct Version {
    pub version: String,
}

/// The tasks of a DAG, never paginated.
#[derive(Deserialize)]
pub(super) struct Tasks {
    pub tasks: Vec<Task>,
}

/// A task.
#[derive(Deserialize)]
pub(super) struct Task {
    task_id: String,
    class_ref: Option<ClassRef>,
    operator_name: Option<String>,
    downstream_task_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ClassRef {
    class_name: Option<String>,
}

impl Task {
    pub(super) fn model(self) -> model::Task {
        model::Task {
            task_id: self.task_id,
            // Task instances also report the class as their operator.
            operator: self.class_ref.and_then(|class| class.class_name).or(self.operator_name),
            downstream: self.downstream_task_ids.unwrap_or_default(),
        }
    }
}

/// A task instance.
#[derive(Deserialize)]
pub(super) struct TaskInstance {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: Option<i32>,
    /// Of the run, in Airflow 2.
    pub execution_date: Option<DateTime<Utc>>,
    /// Of the run, in Airflow 3.
    pub run_after: Option<DateTime<Utc>>,
    task_display_name: Option<String>,
    operator: Option<String>,
    state: Option<String>,
    try_number: Option<i32>,
    max_tries: Option<i32>,
    queued_when: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    duration: Option<f64>,
    pool: Option<String>,
    queue: Option<String>,
    hostname: Option<String>,
}

impl TaskInstance {
    pub(super) fn model(self) -> model::TaskInstance {
        model::TaskInstance {
            dag_id: self.dag_id,
            run_id: self.dag_run_id,
            task_id: self.task_id,
            map_index: self.map_index.unwrap_or(-1),
            display_name: self.task_display_name,
            operator: self.operator,
            state: self.state,
            try_number: self.try_number.unwrap_or_default(),
            max_tries: self.max_tries.unwrap_or_default(),
            queued_when: self.queued_when,
            start_date: self.start_date,
            end_date: self.end_date,
            duration: self.duration,
            pool: self.pool,
            queue: self.queue,
            hostname: self.hostname,
        }
    }
}
