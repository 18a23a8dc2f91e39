//! One scenario that three releases were led through: in our words they tell the same. The worker's scenarios record
//! it.

use provider::{Provider, RunScope, TaskRunScope};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::airflow_stage::{airflow_of, give, provider, seen, time};

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

/// Words of Airflow 2 for what later releases say otherwise.
const OLD_WORDS: [(&str, &str); 3] =
    [("Dataset", "Asset"), ("@monthly", "0 0 1 * *"), ("dataset_triggered", "asset_triggered")];

#[tokio::test]
async fn three_releases_tell_one_scenario_alike() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = airflow_of(release).await;
        for (at, name) in [
            ("dags", "scenario_dags.json"),
            ("dags/outcomes/tasks", "scenario_tasks.json"),
            ("dags/~/dagRuns", "scenario_dag_runs.json"),
            ("dags/~/dagRuns/~/taskInstances", "scenario_task_instances.json"),
        ] {
            give(&server, &format!("/api/{api}/{at}"), 200, release, name).await;
        }
        insta::assert_json_snapshot!("scenario", told(provider(&server.uri()).as_ref()).await);
    }
}

/// All that a provider tells, but for what each server makes up by itself: times, names of runs that nobody asked for,
/// its own address and fields.
async fn told(airflow: &dyn Provider) -> Value {
    let since = time("2026-11-01T00:00:00Z");
    let pipelines = airflow.pipelines(seen(), None).await.unwrap();
    let runs = airflow.runs(&RunScope::ChangedSince(since), seen(), None).await.unwrap();
    let task_runs = airflow.task_runs(&TaskRunScope::ChangedSince(since), seen(), None).await.unwrap();
    assert_eq!((pipelines.next, runs.next, task_runs.next), (None, None, None));
    json!({
        "pipelines": kept(&pipelines.items, &PIPELINE),
        "tasks": airflow.tasks("outcomes").await.unwrap(),
        "runs": kept(&runs.items, &RUN),
        "task_runs": kept(&task_runs.items, &TASK_RUN),
    })
}

/// These fields of each, in one order and in one release's words.
fn kept<T: Serialize>(items: &[T], fields: &[&str]) -> Vec<Value> {
    let mut rows: Vec<Value> = items.iter().map(|item| row(&json!(item), fields)).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

fn row(item: &Value, fields: &[&str]) -> Value {
    let row: Map<_, _> =
        fields.iter().map(|field| ((*field).to_owned(), in_new_words(&item[*field]))).collect();
    row.into()
}

fn in_new_words(value: &Value) -> Value {
    // A run that nobody asked for is named after what made it and when.
    let Some(said) = value.as_str().and_then(|text| text.split("__").next()) else { return value.clone() };
    let word = OLD_WORDS.iter().find(|(old, _)| *old == said).map_or(said, |(_, new)| new);
    json!(word)
}
