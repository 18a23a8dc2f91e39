//! Compares the read model with a real Airflow field by field, in both directions. Airflow is read and
//! normalized by independent code in `source`, and not by the provider under test.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use local::AirflowServer;
use serde_json::{Value, json};

use crate::test_worker::TestWorker;

/// Rows by their external id, as JSON.
pub(crate) type ComparedRows = BTreeMap<String, Value>;

/// Panics with the first differences between Airflow and the read model, if there are any.
pub(crate) async fn assert_mirrors(test: &TestWorker, airflow: &AirflowServer) {
    let found = differences(test, airflow).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The first differences of each kind of row.
pub(crate) async fn differences(test: &TestWorker, airflow: &AirflowServer) -> Vec<String> {
    let runs = source::runs(airflow).await;
    let tasks = source::task_runs(airflow, &runs).await;
    let base: String = sqlx::query_scalar("select config->>'base_url' from connectors where id = $1")
        .bind(test.connector)
        .fetch_one(&test.pool)
        .await
        .unwrap();
    let kinds = [
        (
            "pipelines",
            with_base_url(&base, airflow, source::pipelines(airflow).await),
            stored_pipelines(test).await,
        ),
        ("runs", with_base_url(&base, airflow, runs), stored_runs(test).await),
        ("task runs", tasks, stored_task_runs(test).await),
    ];
    kinds.iter().filter_map(|(query, source, stored)| difference(query, source, stored)).collect()
}

/// Replaces the address in links by the connector's, which may be that of a proxy.
fn with_base_url(base: &str, airflow: &AirflowServer, mut read_rows: ComparedRows) -> ComparedRows {
    let (from, to) = (airflow.url.trim_end_matches('/'), base.trim_end_matches('/'));
    for row in read_rows.values_mut() {
        row["external_url"] = json!(row["external_url"].as_str().map(|url| url.replacen(from, to, 1)));
    }
    read_rows
}

fn difference(query: &str, source: &ComparedRows, stored: &ComparedRows) -> Option<String> {
    let keys: BTreeSet<_> = source.keys().chain(stored.keys()).collect();
    let differing: Vec<_> = keys.into_iter().filter(|key| source.get(*key) != stored.get(*key)).collect();
    let first: Vec<_> =
        differing.iter().take(5).map(|key| describe(key, source.get(*key), stored.get(*key))).collect();
    let head =
        format!("{} of {} {query} differ (Airflow's, the read model's):\n", differing.len(), source.len());
    (!first.is_empty()).then(|| head + &first.join("\n"))
}

fn describe(key: &str, source: Option<&Value>, stored: Option<&Value>) -> String {
    let (Some(source), Some(stored)) = (source, stored) else {
        let side = if source.is_some() { "in the read model" } else { "in Airflow" };
        return format!("  {key} is missing {side}");
    };
    let fields: BTreeSet<_> =
        [source, stored].iter().flat_map(|row| row.as_object().unwrap().keys()).collect();
    let fields = fields.into_iter().filter(|field| source[*field] != stored[*field]);
    let fields: Vec<_> =
        fields.map(|field| format!("{field}: {}, {}", source[field], stored[field])).collect();
    format!("  {key}  {}", fields.join("; "))
}

/// A time in microseconds, so that equal times are equal values.
fn time(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return Value::Null };
    let moment: DateTime<Utc> = text.parse().unwrap();
    json!(moment.timestamp_micros())
}

/// Rows of the read model, with times and numbers normalized.
async fn read_rows(test: &TestWorker, query: &'static str) -> ComparedRows {
    let read_rows: Vec<(String, Value)> = sqlx::query_as(query).fetch_all(&test.pool).await.unwrap();
    let count = read_rows.len();
    let read_rows: ComparedRows = read_rows.into_iter().map(|(key, row)| (key, normalize(row))).collect();
    assert_eq!(read_rows.len(), count, "an external id is not unique");
    read_rows
}

fn normalize(mut row: Value) -> Value {
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

/// The task graph and the time zone of an inactive pipeline are the last observed ones, and are not compared.
async fn stored_pipelines(test: &TestWorker) -> ComparedRows {
    read_rows(
        test,
        "select external_id, jsonb_build_object('name', name, 'description', description, 'owner', owner,
             'owners', owners, 'tags', tags, 'schedule', schedule, 'is_paused', is_paused,
             'is_active', is_active, 'external_url', external_url, 'next_run_at', next_run_at,
             'provider_metadata',
             case when is_active then provider_metadata else provider_metadata - 'timezone' end,
             'tasks', case when is_active then tasks end)
         from pipelines where deleted_at is null",
    )
    .await
}

/// Runs of deleted pipelines stay as they were last observed, and are not compared.
async fn stored_runs(test: &TestWorker) -> ComparedRows {
    read_rows(
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

async fn stored_task_runs(test: &TestWorker) -> ComparedRows {
    read_rows(
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
