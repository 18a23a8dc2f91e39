//! Compares the read model with a real Airflow field by field, both ways. What Airflow says is read and put into our
//! words by code of its own, in `theirs`: the provider under test has no part in it.

mod theirs;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use local::AirflowServer;
use serde_json::{Value, json};

use crate::test_worker::TestWorker;

/// Things by their provider's name.
pub type Rows = BTreeMap<String, Value>;

/// Panics with the first differences, if there is any between Airflow and the read model.
pub async fn assert_mirrors(test: &TestWorker, airflow: &AirflowServer) {
    let found = differences(test, airflow).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The first differences of each kind.
pub async fn differences(test: &TestWorker, airflow: &AirflowServer) -> Vec<String> {
    let runs = theirs::runs(airflow).await;
    let tasks = theirs::task_runs(airflow, &runs).await;
    let base: String = sqlx::query_scalar("select config->>'base_url' from connectors where id = $1")
        .bind(test.connector)
        .fetch_one(&test.pool)
        .await
        .unwrap();
    let kinds = [
        ("pipelines", shown_at(&base, airflow, theirs::pipelines(airflow).await), our_pipelines(test).await),
        ("runs", shown_at(&base, airflow, runs), our_runs(test).await),
        ("task runs", tasks, our_task_runs(test).await),
    ];
    kinds.iter().filter_map(|(what, theirs, ours)| difference(what, theirs, ours)).collect()
}

/// With the links that a connector of this address gives: it need not be the one that Airflow is asked at here.
fn shown_at(base: &str, airflow: &AirflowServer, mut rows: Rows) -> Rows {
    let (from, to) = (airflow.url.trim_end_matches('/'), base.trim_end_matches('/'));
    for row in rows.values_mut() {
        row["external_url"] = json!(row["external_url"].as_str().map(|url| url.replacen(from, to, 1)));
    }
    rows
}

fn difference(what: &str, theirs: &Rows, ours: &Rows) -> Option<String> {
    let keys: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differing: Vec<_> = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key)).collect();
    let some: Vec<_> =
        differing.iter().take(5).map(|key| shown(key, theirs.get(*key), ours.get(*key))).collect();
    let head = format!("{} of {} {what} differ (Airflow's, ours):\n", differing.len(), theirs.len());
    (!some.is_empty()).then(|| head + &some.join("\n"))
}

fn shown(key: &str, theirs: Option<&Value>, ours: Option<&Value>) -> String {
    let (Some(theirs), Some(ours)) = (theirs, ours) else {
        let side = if theirs.is_some() { "here" } else { "in Airflow" };
        return format!("  {key} is not {side}");
    };
    let fields: BTreeSet<_> = [theirs, ours].iter().flat_map(|row| row.as_object().unwrap().keys()).collect();
    let fields = fields.into_iter().filter(|field| theirs[*field] != ours[*field]);
    let fields: Vec<_> = fields.map(|field| format!("{field}: {}, {}", theirs[field], ours[field])).collect();
    format!("  {key}  {}", fields.join("; "))
}

/// One spelling of each moment.
fn time(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return Value::Null };
    let moment: DateTime<Utc> = text.parse().unwrap();
    json!(moment.timestamp_micros())
}

/// What a row of ours says, with times and numbers in one spelling.
async fn rows(test: &TestWorker, what: &'static str) -> Rows {
    let rows: Vec<(String, Value)> = sqlx::query_as(what).fetch_all(&test.pool).await.unwrap();
    let count = rows.len();
    let rows: Rows = rows.into_iter().map(|(key, row)| (key, in_one_spelling(row))).collect();
    assert_eq!(rows.len(), count, "something stands there twice");
    rows
}

fn in_one_spelling(mut row: Value) -> Value {
    for (key, value) in row.as_object_mut().unwrap() {
        let is_time = key.ends_with("_at") || key.starts_with("data_interval");
        if is_time || ["logical_date", "run_after"].contains(&key.as_str()) {
            *value = time(value);
        }
        if key == "duration_seconds" {
            *value = json!(value.as_f64());
        }
    }
    row
}

/// The task graph of a pipeline that is gone is the last known one: there is nothing to compare it with.
async fn our_pipelines(test: &TestWorker) -> Rows {
    rows(
        test,
        "select external_id, jsonb_build_object('name', name, 'description', description, 'owner', owner,
             'owners', owners, 'tags', tags, 'schedule', schedule, 'is_paused', is_paused,
             'is_active', is_active, 'external_url', external_url, 'next_run_at', next_run_at,
             'provider_metadata', provider_metadata, 'tasks', case when is_active then tasks end)
         from pipelines where deleted_at is null",
    )
    .await
}

/// What belongs to a deleted pipeline stays as it was last known.
async fn our_runs(test: &TestWorker) -> Rows {
    rows(
        test,
        "select p.external_id || '/' || r.external_id, jsonb_build_object('status', r.status,
             'provider_status', r.provider_status, 'run_type', r.run_type, 'logical_date', logical_date,
             'data_interval_start', data_interval_start, 'data_interval_end', data_interval_end,
             'run_after', run_after, 'queued_at', queued_at, 'started_at', started_at, 'ended_at', ended_at,
             'duration_seconds', duration_seconds, 'conf', conf, 'note', note,
             'external_url', r.external_url)
         from runs r join pipelines p on p.id = r.pipeline_id
         where r.deleted_at is null and p.deleted_at is null",
    )
    .await
}

async fn our_task_runs(test: &TestWorker) -> Rows {
    rows(
        test,
        "select p.external_id || '/' || r.external_id || '/' || task_id || '/' || map_index,
             jsonb_build_object('name', t.name, 'operator', operator, 'status', t.status,
                 'provider_status', t.provider_status, 'try_number', try_number, 'max_tries', max_tries,
                 'queued_at', t.queued_at, 'started_at', t.started_at, 'ended_at', t.ended_at,
                 'duration_seconds', t.duration_seconds, 'pool', pool, 'queue', queue, 'hostname', hostname)
         from task_runs t join runs r on r.id = t.run_id join pipelines p on p.id = t.pipeline_id
         where t.deleted_at is null and p.deleted_at is null",
    )
    .await
}
