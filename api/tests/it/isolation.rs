//! What one key does stops no other: expensive reads are bounded and take turns, and their statements end
//! with their clients.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use contract::state::RunState;
use platform::health::Heartbeat;
use reqwest::StatusCode;
use serde_json::json;
use testkit::{ApiProcess, ProgramSettings, eventually, kafka_config, sealing_keys};

use crate::app::{SPACE, TestApi};
use crate::event_stream::StreamClient;
use crate::events::streamed;
use crate::installation::TestInstallation;
use crate::seed::{EDITOR, VIEWER};

/// No time-out ends anything in these tests: only the mechanism under test does.
const LONG: [&str; 6] =
    ["--api-statement-timeout", "600", "--statement-timeout", "600", "--request-timeout", "600"];

fn settings(test: &TestApi) -> ProgramSettings {
    ProgramSettings {
        database_url: test.database.api_url.clone(),
        kafka: kafka_config("127.0.0.1:9", ""),
        sealing_keys: sealing_keys("a"),
    }
}

async fn get(api: &str, key: &str, path: &str) -> reqwest::Result<StatusCode> {
    let url = format!("{api}/api/v1.0/spaces/{SPACE}/orchestration{path}");
    Ok(client().get(url).bearer_auth(key).send().await?.status())
}

/// A client that waits longer than any time-out of the process under test.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(900)).build().unwrap()
}

/// Waits until so many statements wait for the lock on the runs.
async fn wait_for_held_statements(test: &TestApi, count: usize) {
    test.wait_for(&format!(
        "select count(*) = {count} from pg_locks where not granted and relation = 'runs'::regclass"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_one_key_neither_stop_another_key_nor_outlive_their_clients() {
    let test = TestApi::new().await;
    let api = ApiProcess::start(&settings(&test), &LONG).await;
    let mut lock = test.db.begin().await.unwrap();
    sqlx::query("lock table runs in access exclusive mode").execute(&mut *lock).await.unwrap();
    let list = |key: &'static str| {
        let url = api.url.clone();
        tokio::spawn(async move { get(&url, key, "/runs?run_id=x").await })
    };
    let lists: Vec<_> = (0..64).map(|_| list(EDITOR)).collect();
    // Half of three quarters of the 16 connections.
    wait_for_held_statements(&test, 6).await;
    let connector = format!("/connectors/{}/syncs/{}", test.connector, uuid::Uuid::nil());
    for _ in 0..20 {
        assert_eq!(get(&api.url, VIEWER, &connector).await.unwrap(), 404);
    }
    let ready = reqwest::get(format!("{}/readyz", api.url)).await.unwrap();
    assert_eq!(ready.status(), 200);
    let others: Vec<_> = (0..10).map(|_| list(VIEWER)).collect();
    wait_for_held_statements(&test, 12).await;
    assert_eq!(get(&api.url, VIEWER, &connector).await.unwrap(), 404);
    assert!(lists.iter().chain(&others).all(|list| !list.is_finished()));

    lists.iter().for_each(tokio::task::JoinHandle::abort);
    wait_for_held_statements(&test, 6).await;
    others.iter().for_each(tokio::task::JoinHandle::abort);
    wait_for_held_statements(&test, 0).await;
    lock.rollback().await.unwrap();
    assert_eq!(get(&api.url, EDITOR, "/runs").await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_gets_a_503_that_says_so() {
    let test = TestApi::new().await;
    let api = ApiProcess::start(&settings(&test), &["--api-statement-timeout", "1"]).await;
    let mut lock = test.db.begin().await.unwrap();
    sqlx::query("lock table runs in access exclusive mode").execute(&mut *lock).await.unwrap();
    let url = format!("{}/api/v1.0/spaces/{SPACE}/orchestration/runs", api.url);
    let response = client().get(url).bearer_auth(VIEWER).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"].to_str().unwrap()),
        (503, &"30")
    );
    let body: serde_json::Value = response.json().await.unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("narrow the filter") && !detail.contains("database"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_process_serves_streams_until_it_is_drained() {
    let test = TestInstallation::start().await;
    tokio::spawn(api::stream::run(test.api.app.stream.clone(), Heartbeat::default()));
    test.api.app.stopping.cancel();
    let mut stream = StreamClient::within(&test.api, VIEWER).await;
    let run = test.run("sales", "r1", RunState::Running);
    test.send(std::slice::from_ref(&run)).await;
    assert_eq!(stream.next().await, Some(streamed("run", &run)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let test = TestApi::new().await;
    let mut api = ApiProcess::start(&settings(&test), &["--drain-seconds", "10"]).await;
    api.terminate();
    let url = format!("{}/readyz", api.url);
    let is_stopping = async || reqwest::get(&url).await.is_ok_and(|response| response.status() == 503);
    eventually("the API stops", Duration::from_secs(60), is_stopping).await;
    api.terminate();
    let ended = tokio::task::spawn_blocking(move || api.process().wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(143), "a process that finished its requests ends with 0");
}

#[tokio::test]
async fn readiness_names_each_part() {
    let ready =
        async |test: &TestApi| test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    let parts =
        |postgresql: &str, schema: &str| json!({"postgresql": postgresql, "schema": schema, "kafka": "away"});
    // Another version's schema, and a slow request on each connection.
    let test = TestApi::new().await;
    let mut held = Vec::new();
    for _ in 0..test.app.db.options().get_max_connections() {
        held.push(test.app.db.acquire().await.unwrap());
    }
    assert_eq!(ready(&test).await.expect(200), json!({"status": "ready", "parts": parts("ok", "ok")}));
    let test = TestApi::new().await;
    test.sql("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .await;
    let response = ready(&test).await.expect(503);
    assert_eq!(response["parts"], parts("ok", "missing"));
    assert!(response["detail"].as_str().unwrap().contains("orchestration-api migrate"), "{response}");
    let test = TestApi::new().await;
    test.app.control_db.close().await;
    let response = ready(&test).await.expect(503);
    assert_eq!(response["parts"], parts("away", "unknown"));
    assert_eq!(response["detail"], "PostgreSQL does not answer; try again in a moment");
}
