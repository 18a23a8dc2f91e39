//! Airflow's entities, independent of the version of the REST API. `normalize` maps them to events.

use chrono::{DateTime, Utc};
use contract::events::RunConf;
use serde_json::Value;

/// A DAG, as listed.
#[derive(Clone, Debug)]
pub(super) struct Dag {
    pub dag_id: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// Each item may contain several names, separated by commas.
    pub owners: Vec<String>,
    pub tags: Vec<String>,
    pub schedule: Option<String>,
    pub is_paused: bool,
    /// Whether the DAG is no longer defined in its file.
    pub is_stale: bool,
    pub next_run_at: Option<DateTime<Utc>>,
    /// The page in Airflow's UI.
    pub url: String,
    /// The item of the list, unchanged.
    pub raw: Value,
}

/// A task of a DAG.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub task_id: String,
    pub operator: Option<String>,
    pub downstream: Vec<String>,
}

/// A DAG run.
#[derive(Clone, Debug)]
pub(super) struct DagRun {
    pub dag_id: String,
    pub run_id: String,
    pub state: Option<String>,
    pub run_type: Option<String>,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval_start: Option<DateTime<Utc>>,
    pub data_interval_end: Option<DateTime<Utc>>,
    pub run_after: Option<DateTime<Utc>>,
    pub queued_at: Option<DateTime<Utc>>,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    pub conf: Conf,
    pub note: Option<String>,
    /// The page in Airflow's UI.
    pub url: String,
}

/// The `conf` of a DAG run.
#[derive(Clone, Debug)]
pub(super) enum Conf {
    Read(RunConf),
    /// It is too large or cannot be read; its size in bytes.
    LeftOut(u64),
}

/// A task instance.
#[derive(Clone, Debug)]
pub(super) struct TaskInstance {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    /// When the run was due, or its logical date in Airflow 2: lists can be filtered by it.
    pub run_date: Option<DateTime<Utc>>,
    pub display_name: Option<String>,
    pub operator: Option<String>,
    pub state: Option<String>,
    pub try_number: i32,
    pub max_tries: i32,
    pub queued_when: Option<DateTime<Utc>>,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    /// In seconds.
    pub duration: Option<f64>,
    pub pool: Option<String>,
    pub queue: Option<String>,
    pub hostname: Option<String>,
}

impl TaskInstance {
    /// The natural key; ids of the server are not stable.
    pub(super) fn key(&self) -> (String, String, String, i32) {
        (self.dag_id.clone(), self.run_id.clone(), self.task_id.clone(), self.map_index)
    }
}
