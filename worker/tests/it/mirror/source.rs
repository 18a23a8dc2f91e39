//! Reads an Airflow over either version of its REST API and normalizes it. This code is independent of the
//! provider's, so that the two do not have the same bugs.

use std::collections::{BTreeMap, BTreeSet};

use local::{AirflowApi, AirflowServer};
use serde_json::{Value, json};

use super::{ComparedRows, time};

/// How often an unordered list is read until it has contained every item.
const MAX_PASSES: usize = 30;

/// All DAGs, including those whose file is deleted.
pub(super) async fn pipelines(airflow: &AirflowServer) -> ComparedRows {
    let path = match airflow.api {
        AirflowApi::V1 => "dags?only_active=false&order_by=dag_id",
        AirflowApi::V2 => "dags?exclude_stale=false&order_by=dag_id",
    };
    let mut rows = ComparedRows::new();
    for dag in list(airflow, path, "dags", |dag| text(&dag["dag_id"])).await {
        let id = text(&dag["dag_id"]);
        rows.insert(id.clone(), pipeline(airflow, &id, dag).await);
    }
    rows
}

async fn pipeline(airflow: &AirflowServer, id: &str, dag: Value) -> Value {
    let is_active = match airflow.api {
        AirflowApi::V1 => dag["is_active"] == true,
        AirflowApi::V2 => dag["is_stale"] == false,
    };
    let (schedule, next, page) = match airflow.api {
        AirflowApi::V1 => {
            (schedule_text(&dag["schedule_interval"]), "next_dagrun_create_after", Some("grid"))
        }
        AirflowApi::V2 => (dag["timetable_summary"].clone(), "next_dagrun_run_after", None),
    };
    let owners = sorted(dag["owners"].as_array().unwrap().iter().map(text));
    let is_paused = dag["is_paused"] == true;
    let has_zone = is_active && !schedule.is_null();
    json!({
        "name": dag["dag_display_name"], "description": dag["description"],
        "owner": owners.first(), "owners": owners,
        "tags": sorted(dag["tags"].as_array().unwrap().iter().map(|tag| text(&tag["name"]))),
        "schedule": schedule, "is_paused": is_paused, "is_active": is_active,
        "external_url": url(airflow, &[&["dags", id], page.as_slice()].concat()),
        "next_run_at": if is_paused { Value::Null } else { time(&dag[next]) },
        "tasks": if is_active { graph(airflow, id).await } else { Value::Null },
        "provider_metadata": metadata(airflow, id, dag, has_zone).await,
    })
}

/// A schedule of Airflow 2 as text.
fn schedule_text(interval: &Value) -> Value {
    let (days, seconds) = (&interval["days"], interval["seconds"].as_u64().unwrap_or_default());
    let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match interval["__type"].as_str() {
        None => Value::Null,
        Some("CronExpression") => interval["value"].clone(),
        Some("TimeDelta") if days == 0 => json!(clock),
        Some("TimeDelta") if days == 1 => json!(format!("1 day, {clock}")),
        Some("TimeDelta") => json!(format!("{days} days, {clock}")),
        Some(other) => panic!("unexpected type of schedule: {other}"),
    }
}

/// A DAG as listed, with the time zone of its schedule, which is in its details.
async fn metadata(airflow: &AirflowServer, id: &str, dag: Value, has_zone: bool) -> Value {
    let mut metadata = without_volatile_fields(dag);
    if has_zone {
        let details = airflow.get(&format!("dags/{id}/details")).await.unwrap();
        metadata["timezone"] = details["timezone"].clone();
    }
    metadata
}

/// A DAG as listed, without the fields that change with time.
fn without_volatile_fields(mut dag: Value) -> Value {
    let fields = dag.as_object_mut().unwrap();
    fields.retain(|name, _| !name.starts_with("last_") && !name.starts_with("next_dagrun"));
    fields.remove("file_token");
    for list in ["owners", "tags"] {
        fields[list].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    }
    dag
}

async fn graph(airflow: &AirflowServer, dag: &str) -> Value {
    let listed = airflow.get(&format!("dags/{dag}/tasks")).await.unwrap();
    let tasks: BTreeMap<String, &Value> =
        listed["tasks"].as_array().unwrap().iter().map(|task| (text(&task["task_id"]), task)).collect();
    let downstream_of =
        |id: &str| sorted(tasks[id]["downstream_task_ids"].as_array().unwrap().iter().map(text));
    let nodes = tasks.keys().map(|id| {
        let upstream: Vec<_> = tasks.keys().filter(|other| downstream_of(other).contains(id)).collect();
        let operator = &tasks[id]["class_ref"]["class_name"];
        json!({"task_id": id, "operator": operator, "upstream": upstream, "downstream": downstream_of(id)})
    });
    nodes.collect()
}

/// All runs of all DAGs.
pub(super) async fn runs(airflow: &AirflowServer) -> ComparedRows {
    let runs = list(airflow, "dags/~/dagRuns?order_by=id", "dag_runs", run_key).await;
    runs.into_iter().map(|run| (run_key(&run), self::run(airflow, &run))).collect()
}

fn run_key(run: &Value) -> String {
    format!("{}/{}", text(&run["dag_id"]), text(&run["dag_run_id"]))
}

fn run(airflow: &AirflowServer, run: &Value) -> Value {
    let (dag, id) = (text(&run["dag_id"]), text(&run["dag_run_id"]));
    let page = match airflow.api {
        AirflowApi::V1 => {
            let mut page = url(airflow, &["dags", &dag, "grid"]);
            page.query_pairs_mut().append_pair("dag_run_id", &id);
            page
        }
        AirflowApi::V2 => url(airflow, &["dags", &dag, "runs", &id]),
    };
    let run_type = match run["run_type"].as_str().unwrap() {
        "dataset_triggered" => "asset_triggered",
        "operator_triggered" | "asset_materialization" => "manual",
        state => state,
    };
    let (start, end) = (time(&run["start_date"]), time(&run["end_date"]));
    json!({
        "status": run["state"], "provider_status": run["state"], "run_type": run_type,
        "logical_date": time(&run["logical_date"]), "data_interval_start": time(&run["data_interval_start"]),
        "data_interval_end": time(&run["data_interval_end"]), "run_after": time(&run["run_after"]),
        "queued_at": time(&run["queued_at"]), "started_at": start, "ended_at": end,
        "duration_seconds": seconds(&start, &end), "conf": run["conf"], "note": null_if_empty(&run["note"]),
        "external_url": page,
    })
}

/// All task instances of these runs.
pub(super) async fn task_runs(airflow: &AirflowServer, runs: &ComparedRows) -> ComparedRows {
    let dags: BTreeSet<&str> = runs.keys().filter_map(|key| key.split('/').next()).collect();
    let order = match airflow.api {
        AirflowApi::V1 => "",
        AirflowApi::V2 => "?order_by=id",
    };
    let mut rows = ComparedRows::new();
    for dag in dags {
        let path = format!("dags/{dag}/dagRuns/~/taskInstances{order}");
        let tasks = list(airflow, &path, "task_instances", task_key).await;
        rows.extend(tasks.into_iter().map(|task| (task_key(&task), task_run(&task))));
    }
    rows
}

fn task_key(task: &Value) -> String {
    format!("{}/{}/{}", run_key(task), text(&task["task_id"]), task["map_index"])
}

fn task_run(task: &Value) -> Value {
    let status = match task["state"].as_str() {
        None => "pending",
        Some("up_for_retry" | "restarting") => "retrying",
        Some("up_for_reschedule") => "scheduled",
        Some("awaiting_input") => "deferred",
        Some(state) => state,
    };
    let (start, end) = (time(&task["start_date"]), time(&task["end_date"]));
    let duration =
        if task["duration"].is_null() { seconds(&start, &end) } else { json!(task["duration"].as_f64()) };
    json!({
        "name": task["task_display_name"], "operator": task["operator"], "status": status,
        "provider_status": task["state"], "try_number": task["try_number"], "max_tries": task["max_tries"],
        "queued_at": time(&task["queued_when"]), "started_at": start, "ended_at": end,
        "duration_seconds": duration, "pool": task["pool"], "queue": null_if_empty(&task["queue"]),
        "hostname": null_if_empty(&task["hostname"]),
    })
}

/// All items of a list. An unordered list may contain some rows twice and others never, so it is read again
/// until all items were found. Instances of mapped tasks are read from their own list, which is ordered.
async fn list(airflow: &AirflowServer, path: &str, field: &str, key: fn(&Value) -> String) -> Vec<Value> {
    let mut found = BTreeMap::new();
    for _ in 0..MAX_PASSES {
        let total = add_pages(airflow, path, field, key, &mut found).await;
        if found.len() < total {
            for mapped in mapped_lists(&found) {
                add_pages(airflow, &mapped, field, key, &mut found).await;
            }
        }
        if found.len() == total {
            return found.into_values().collect();
        }
    }
    panic!("{path} never contained all items");
}

/// Adds the items of all pages of a list; the list's total.
async fn add_pages(
    airflow: &AirflowServer,
    path: &str,
    field: &str,
    key: fn(&Value) -> String,
    found: &mut BTreeMap<String, Value>,
) -> usize {
    let separator = if path.contains('?') { '&' } else { '?' };
    let (mut offset, mut total) = (0, usize::MAX);
    while offset < total {
        let page = airflow.get(&format!("{path}{separator}limit=100&offset={offset}")).await.unwrap();
        total = page["total_entries"].as_u64().unwrap() as usize;
        let items = page[field].as_array().unwrap();
        assert!(!items.is_empty() || offset == total, "{path} ends at {offset} of {total}");
        offset += items.len();
        found.extend(items.iter().map(|item| (key(item), item.clone())));
    }
    total
}

/// The lists of the instances of each mapped task of which an instance was found.
fn mapped_lists(found: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let mapped = found.values().filter(|item| item["map_index"].as_i64() >= Some(0));
    let list = |item: &Value| {
        let field = |name: &str| item[name].as_str().unwrap().to_owned();
        let (dag, run, task) = (field("dag_id"), field("dag_run_id"), field("task_id"));
        format!("dags/{dag}/dagRuns/{run}/taskInstances/{task}/listMapped")
    };
    mapped.map(list).collect()
}

fn url(airflow: &AirflowServer, segments: &[&str]) -> reqwest::Url {
    let mut url: reqwest::Url = airflow.url.parse().unwrap();
    url.path_segments_mut().unwrap().pop_if_empty().extend(segments);
    url
}

fn seconds(start: &Value, end: &Value) -> Value {
    match (start.as_i64(), end.as_i64()) {
        (Some(start), Some(end)) => json!((end - start) as f64 / 1e6),
        _ => Value::Null,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn null_if_empty(value: &Value) -> &Value {
    if value == "" { &Value::Null } else { value }
}

fn sorted(words: impl Iterator<Item = String>) -> Vec<String> {
    let words: Vec<String> = words.collect();
    let words: BTreeSet<String> = words.iter().flat_map(|word| word.split(',')).map(trimmed).collect();
    words.into_iter().collect()
}

fn trimmed(word: &str) -> String {
    word.trim().to_owned()
}
