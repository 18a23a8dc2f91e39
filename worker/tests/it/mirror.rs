//! Compares the read model with a real Airflow field by field, both ways, from Airflow's own answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use local::Airflow;
use serde_json::{Value, json};

use crate::stage::Stage;

type Rows = BTreeMap<String, Value>;

/// Panics with the first differences, if there is any between Airflow and the read model.
pub async fn assert_mirrors(stage: &Stage, airflow: &Airflow) {
    assert_same("pipelines", &airflow_dags(airflow).await, &our_pipelines(stage).await);
    let runs = airflow_runs(airflow).await;
    assert_same("runs", &runs, &our_runs(stage).await);
    assert_same("task runs", &airflow_tasks(airflow, &runs).await, &our_task_runs(stage).await);
}

fn assert_same(what: &str, theirs: &Rows, ours: &Rows) {
    let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differences: Vec<_> = keys
        .into_iter()
        .filter(|key| theirs.get(*key) != ours.get(*key))
        .map(|key| format!("{key}\n  airflow {:?}\n  ours    {:?}", theirs.get(key), ours.get(key)))
        .collect();
    let some = differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {} {what} differ:\n{some}", differences.len(), theirs.len());
}

/// All items of a list, page by page.
async fn all(airflow: &Airflow, path: &str, key: &str) -> Vec<Value> {
    let mut items = Vec::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = airflow.get(&format!("{path}{separator}limit=100&offset={}", items.len())).await.unwrap();
        let found = page[key].as_array().unwrap().clone();
        if found.is_empty() {
            return items;
        }
        items.extend(found);
    }
}

/// One spelling of each moment.
fn time(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return Value::Null };
    let moment: DateTime<Utc> = text.parse().unwrap();
    json!(moment.timestamp_micros())
}

fn words(value: &Value) -> Value {
    let mut words: Vec<String> =
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().trim().to_owned()).collect();
    words.sort();
    json!(words)
}

async fn airflow_dags(airflow: &Airflow) -> Rows {
    let dags = all(airflow, "dags?exclude_stale=false&order_by=dag_id", "dags").await;
    let row = |dag: Value| {
        let mut tags: Vec<&str> =
            dag["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
        tags.sort_unstable();
        let row = json!({
            "name": dag["dag_display_name"], "description": dag["description"], "owners": words(&dag["owners"]),
            "tags": tags, "schedule": dag["timetable_summary"], "is_paused": dag["is_paused"],
            "is_active": !dag["is_stale"].as_bool().unwrap(),
        });
        (dag["dag_id"].as_str().unwrap().to_owned(), row)
    };
    dags.into_iter().map(row).collect()
}

async fn airflow_runs(airflow: &Airflow) -> Rows {
    let runs = all(airflow, "dags/~/dagRuns?order_by=id", "dag_runs").await;
    let row = |run: Value| {
        let key = format!("{}/{}", run["dag_id"].as_str().unwrap(), run["dag_run_id"].as_str().unwrap());
        let row = json!({
            "status": run["state"], "run_type": run["run_type"], "logical_date": time(&run["logical_date"]),
            "data_interval_start": time(&run["data_interval_start"]),
            "data_interval_end": time(&run["data_interval_end"]), "run_after": time(&run["run_after"]),
            "queued_at": time(&run["queued_at"]), "started_at": time(&run["start_date"]),
            "ended_at": time(&run["end_date"]), "conf": run["conf"], "note": run["note"],
        });
        (key, row)
    };
    runs.into_iter().map(row).collect()
}

async fn airflow_tasks(airflow: &Airflow, runs: &Rows) -> Rows {
    let mut rows = Rows::new();
    let dags: std::collections::BTreeSet<&str> =
        runs.keys().filter_map(|key| key.split('/').next()).collect();
    for dag in dags {
        for task in all(airflow, &format!("dags/{dag}/dagRuns/~/taskInstances"), "task_instances").await {
            let key = format!(
                "{dag}/{}/{}/{}",
                task["dag_run_id"].as_str().unwrap(),
                task["task_id"].as_str().unwrap(),
                task["map_index"]
            );
            let row = json!({
                "provider_status": task["state"], "try_number": task["try_number"], "max_tries": task["max_tries"],
                "started_at": time(&task["start_date"]), "ended_at": time(&task["end_date"]),
                "queued_at": time(&task["queued_when"]), "pool": task["pool"], "operator": task["operator"],
            });
            rows.insert(key, row);
        }
    }
    rows
}

async fn rows(stage: &Stage, what: &'static str) -> Rows {
    let rows: Vec<(String, Value)> = sqlx::query_as(what).fetch_all(&stage.pool).await.unwrap();
    let count = rows.len();
    let rows: Rows = rows.into_iter().map(|(key, row)| (key, times_in(row))).collect();
    assert_eq!(rows.len(), count, "something stands there twice");
    rows
}

fn times_in(mut row: Value) -> Value {
    for (key, value) in row.as_object_mut().unwrap() {
        let is_time =
            key.ends_with("_at") || key == "logical_date" || key == "run_after" || key.starts_with("data_");
        if is_time {
            *value = time(value);
        }
    }
    row
}

async fn our_pipelines(stage: &Stage) -> Rows {
    rows(
        stage,
        "select external_id, jsonb_build_object('name', name, 'description', description, 'owners', owners,
             'tags', tags, 'schedule', schedule, 'is_paused', is_paused, 'is_active', is_active) from pipelines",
    )
    .await
}

async fn our_runs(stage: &Stage) -> Rows {
    rows(
        stage,
        "select p.external_id || '/' || r.external_id, jsonb_build_object('status', r.status,
             'run_type', r.run_type, 'logical_date', logical_date, 'data_interval_start', data_interval_start,
             'data_interval_end', data_interval_end, 'run_after', run_after, 'queued_at', queued_at,
             'started_at', started_at, 'ended_at', ended_at, 'conf', conf, 'note', note)
         from runs r join pipelines p on p.id = r.pipeline_id where r.deleted_at is null",
    )
    .await
}

async fn our_task_runs(stage: &Stage) -> Rows {
    rows(
        stage,
        "select external_id, jsonb_build_object('provider_status', provider_status, 'try_number', try_number,
             'max_tries', max_tries, 'started_at', started_at, 'ended_at', ended_at, 'queued_at', queued_at,
             'pool', pool, 'operator', operator)
         from task_runs where deleted_at is null",
    )
    .await
}
