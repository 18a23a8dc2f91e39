//! One scenario, recorded from three releases of Airflow by the worker's scenario tests, yields the same
//! events.

use provider::{Provider, RunScope, TaskRunScope};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::airflow_server::{mock_get, observation, pretty, provider, start_airflow, time};

const PIPELINE: [&str; 9] =
    ["external_id", "name", "description", "owner", "owners", "tags", "schedule", "is_paused", "is_active"];
const RUN: [&str; 7] =
    ["pipeline_external_id", "external_id", "status", "provider_status", "run_type", "conf", "note"];
const TASK_RUN: [&str; 12] = [
    "pipeline_external_id",
    "run_external_id",
    "task_id",
    "map_index",
    "name",
    "operator",
    "status",
    "provider_status",
    "try_number",
    "max_tries",
    "pool",
    "queue",
];

/// Values of Airflow 2 that later releases renamed.
const RENAMED_VALUES: [(&str, &str); 3] =
    [("Dataset", "Asset"), ("@monthly", "0 0 1 * *"), ("dataset_triggered", "asset_triggered")];

#[tokio::test]
async fn three_releases_yield_the_same_events() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        for (at, name) in [
            ("dags", "scenario_dags.json"),
            ("dags/outcomes/tasks", "scenario_tasks.json"),
            ("dags/~/dagRuns", "scenario_dag_runs.json"),
            ("dags/~/dagRuns/~/taskInstances", "scenario_task_instances.json"),
        ] {
            mock_get(&server, &format!("/api/{api}/{at}"), 200, release, name).await;
        }
        let events = comparable_events(provider(&server.uri()).as_ref()).await;
        insta::assert_snapshot!("scenario", pretty(&events));
    }
}

/// The events of a provider, without values that each server generates: times, ids of scheduled runs,
/// addresses.
async fn comparable_events(airflow: &dyn Provider) -> Value {
    let since = time("2026-11-01T00:00:00Z");
    let pipelines = airflow.pipelines(observation(), None).await.unwrap();
    let runs = airflow.runs(&RunScope::ChangedSince(since), observation(), None).await.unwrap();
    let task_runs = airflow.task_runs(&TaskRunScope::ChangedSince(since), observation(), None).await.unwrap();
    assert_eq!((pipelines.next, runs.next, task_runs.next), (None, None, None));
    json!({
        "pipelines": select(&pipelines.items, &PIPELINE),
        "tasks": airflow.tasks("outcomes").await.unwrap().value,
        "runs": select(&runs.items, &RUN),
        "task_runs": select(&task_runs.items, &TASK_RUN),
    })
}

/// Selects these fields, sorts the rows, and applies the renamed values.
fn select<T: Serialize>(items: &[T], fields: &[&str]) -> Vec<Value> {
    let mut rows: Vec<Value> = items.iter().map(|item| row(&json!(item), fields)).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

fn row(item: &Value, fields: &[&str]) -> Value {
    let row: Map<_, _> =
        fields.iter().map(|field| ((*field).to_owned(), with_new_name(&item[*field]))).collect();
    row.into()
}

fn with_new_name(value: &Value) -> Value {
    // The id of a generated run consists of its type and its time.
    let Some(text) = value.as_str().and_then(|text| text.split("__").next()) else { return value.clone() };
    json!(RENAMED_VALUES.iter().find(|(old, _)| *old == text).map_or(text, |(_, new)| new))
}
