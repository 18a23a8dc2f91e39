//! The memory of the worker's process stays bounded, whatever the size and the shape of what a source
//! returns, during a first sync and during a rebuild.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use testkit::WorkerProcess;

use crate::test_worker::TestWorker;

const MAX_MEMORY_MB: u64 = 150;
const TIMEOUT: Duration = Duration::from_secs(300);

/// How many sources are read at once, and how many large runs each has.
const SOURCES: usize = 8;
const RUNS_OF_SOURCE: usize = 5;

type OddParameters = BTreeMap<String, String>;

/// How many runs of each kind the pipeline of that name has.
const PIPELINES: [(&str, usize); 4] = [("large", 30), ("too_large", 2), ("numbers", 20), ("objects", 20)];

/// The `conf` of a run, as JSON.
fn conf(pipeline: &str, run: usize) -> String {
    let text = |bytes: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
    match (pipeline, run) {
        ("large", _) => text(3_900_000),
        ("too_large", 0) => text(9_000_000),
        ("too_large", _) => text(17_000_000),
        // Decoded, they take much more memory than as text. Only the first run of each is published whole.
        ("numbers", _) => format!(r#"{{"numbers":[0{}]}}"#, ",0".repeat(40_000 * (run + 1))),
        _ => format!(r#"{{"objects":[{{}}{}]}}"#, r#",{"a":1}"#.repeat(20_000 * (run + 1))),
    }
}

fn run(pipeline: &str, run: usize) -> String {
    let now = chrono::Utc::now().format("%Y-%m-%dT00:00:00Z");
    format!(
        r#"{{"dag_id":"{pipeline}","dag_run_id":"r{run}","state":"success","run_type":"manual",
            "run_after":"{now}","conf":{}}}"#,
        conf(pipeline, run)
    )
}

fn runs(pipelines: &[(&str, usize)], path: &OddParameters, query: &OddParameters) -> Response {
    let number = |name: &str, default| query.get(name).map_or(default, |value| value.parse().unwrap());
    let (limit, offset): (usize, usize) = (number("limit", 100), number("offset", 0));
    let found = pipelines.iter().find(|(name, _)| *name == path["dag"]);
    let (pipeline, total) = found.copied().unwrap_or_default();
    let rows: Vec<_> = (offset..total.min(offset + limit)).map(|number| run(pipeline, number)).collect();
    let body = format!(r#"{{"dag_runs":[{}],"total_entries":{total}}}"#, rows.join(","));
    ([("content-type", "application/json")], body).into_response()
}

/// The API of a server with these pipelines.
fn odd_airflow(pipelines: &'static [(&'static str, usize)]) -> Router {
    let dag = |(name, _): &(&str, usize)| json!({"dag_id": name, "owners": ["ada"], "tags": []});
    let dags = json!({
        "dags": pipelines.iter().map(dag).collect::<Vec<_>>(),
        "total_entries": pipelines.len(),
    });
    let nothing = json!({"task_instances": [], "total_entries": 0});
    let runs = async move |Path(path): Path<OddParameters>, Query(query): Query<OddParameters>| {
        runs(pipelines, &path, &query)
    };
    Router::new()
        .route("/version", get(async || Json(json!({"version": "3.1.8"}))))
        .route("/dags", get(async move || Json(dags)))
        .route("/dags/{dag}/tasks", get(async || Json(json!({"tasks": []}))))
        .route("/dags/{dag}/dagRuns", get(runs))
        .route("/dags/{dag}/dagRuns/~/taskInstances", get(async move || Json(nothing)))
}

/// A server with all of the pipelines, and below `/{server}` many with a few runs of the first one.
async fn start_odd_airflow() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .nest("/api/v2", odd_airflow(&PIPELINES))
        .nest("/{server}/api/v2", odd_airflow(&[("large", RUNS_OF_SOURCE)]));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_odd_confs_are_synced_and_rebuilt_within_bounded_memory() {
    let test = TestWorker::idle().await;
    test.set_base_url(&start_odd_airflow().await).await;
    let worker = WorkerProcess::start(&test.settings, &[]).await;
    test.enqueue_sync(false, false).await;
    test.wait_for_within(TIMEOUT, "select bool_and(status = 'succeeded') from syncs").await;
    assert_eq!(test.number("select count(*) from runs where status = 'success'").await, 30 + 2 + 20 + 20);
    assert_eq!(test.number("select count(*) from runs where conf <> 'null'").await, 30 + 1 + 1);
    let largest = "select max(conf_bytes) from runs where conf = 'null'";
    assert_eq!(test.number(largest).await, 17_000_000 + 11);
    let synced = worker.peak_memory();
    let mut rebuild = WorkerProcess::spawn(&mut test.owner_settings().worker(&["rebuild"]).await);
    let mut rebuilt = 0;
    while rebuild.process().try_wait().unwrap().is_none() {
        rebuilt = rebuilt.max(rebuild.peak_memory());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("peaks of resident memory: worker {synced} MB, rebuild {rebuilt} MB");
    assert!(synced < MAX_MEMORY_MB && rebuilt < MAX_MEMORY_MB, "worker {synced} MB, rebuild {rebuilt} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_confs_of_many_sources_are_synced_within_bounded_memory() {
    let test = TestWorker::idle().await;
    let url = start_odd_airflow().await;
    let connector = |number| {
        let config = json!({"base_url": format!("{url}/{number}"), "schedule": "0 0 0 1 1 *"});
        (format!("large {number}"), config)
    };
    let connectors: Vec<_> = (1..=SOURCES).map(connector).collect();
    testkit::create_connectors(&test.pool, "test", &connectors).await;
    test.execute(
        "update connector_state set next_due_at = now() from connectors c
         where c.id = connector_id and c.name like 'large %'",
    )
    .await;
    let worker = WorkerProcess::start(&test.settings, &[]).await;
    let succeeded = format!("select count(*) = {SOURCES} from syncs where status = 'succeeded'");
    test.wait_for_within(TIMEOUT, &succeeded).await;
    let whole = "select count(*) from runs where conf <> 'null'";
    assert_eq!(test.number(whole).await, (SOURCES * RUNS_OF_SOURCE) as i64);
    let peak = worker.peak_memory();
    println!("peak of resident memory: {peak} MB");
    assert!(peak < MAX_MEMORY_MB, "{peak} MB");
}
