//! What Airflow means, whichever REST version said it. Its words are still Airflow's: making them ours is for
//! `normalize`.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A DAG as the list shows it.
#[derive(Clone, Debug)]
pub(super) struct Dag {
    pub dag_id: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// Each may name several, separated by commas.
    pub owners: Vec<String>,
    pub tags: Vec<String>,
    pub schedule: Option<String>,
    pub is_paused: bool,
    /// Whether its file no longer holds it.
    pub is_stale: bool,
    pub next_run_at: Option<DateTime<Utc>>,
    /// Its page in Airflow's own UI.
    pub url: String,
    /// The list's item, as it was given.
    pub given: Value,
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
    pub conf: Value,
    pub note: Option<String>,
    /// Its page in Airflow's own UI.
    pub url: String,
}

/// A task instance.
#[derive(Clone, Debug)]
pub(super) struct TaskInstance {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
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
    /// What tells it from all others, whatever ids the server gives it.
    pub fn key(&self) -> (String, String, String, i32) {
        (self.dag_id.clone(), self.run_id.clone(), self.task_id.clone(), self.map_index)
    }
}
