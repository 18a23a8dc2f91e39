//! Triggers on a real Airflow: accepted ones, and rejections with Airflow's own messages.

use std::time::Duration;

use axum::http::Method;
use contract::ids::PipelineId;
use local::AirflowServer;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::app::{SPACE, TestApi};
use crate::seed::EDITOR;
use crate::trigger::trigger;

/// A DAG whose parameter must be a positive number.
const DAG: &str = "train_model";

/// A test whose connector leads to the local Airflow.
async fn start_test() -> (TestApi, AirflowServer) {
    let airflow = local::local_airflow().await.unwrap();
    airflow.wait_for_dag(DAG, Duration::from_secs(120)).await.unwrap();
    let test = TestApi::new().await;
    connect(&test, json!({"config": {"base_url": airflow.url}})).await;
    log_in(&test, &airflow.username, &airflow.password).await;
    (test, airflow)
}

async fn connect(test: &TestApi, change: Value) {
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    test.send(Method::PATCH, EDITOR, &path, Some(change)).await.expect(200);
}

async fn log_in(test: &TestApi, username: &str, password: &str) {
    let credentials = json!({"auth_type": "basic", "username": username, "password": password});
    connect(test, json!({ "credentials": credentials })).await;
}

/// Asserts that Airflow itself rejects a trigger with this status; its message.
async fn assert_rejected(test: &TestApi, pipeline: PipelineId, body: Value, code: u16) -> String {
    let response = trigger(test, pipeline, None, body).await.expect(code);
    assert_eq!((&response["provider"], &response["provider_status"]), (&json!("airflow"), &json!(code)));
    response["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_of_a_real_airflow_are_passed_on() {
    let (test, airflow) = start_test().await;
    let pipeline = test.pipeline(DAG).await;
    let unknown = test.pipeline("unknown_dag").await;
    let was_paused = airflow.get(&format!("dags/{DAG}")).await.unwrap()["is_paused"].clone();
    pause(&airflow, json!(true)).await;

    let created =
        trigger(&test, pipeline, None, json!({"conf": {"epochs": 1}, "note": "by hand"})).await.expect(201);
    assert_eq!((&created["status"], &created["conf"]["epochs"]), (&json!("queued"), &json!(1)));
    assert_eq!(test.read(&format!("/runs/{}", created["id"].as_str().unwrap())).await, created);
    let path = format!("dags/{DAG}/dagRuns/{}", created["external_id"].as_str().unwrap());
    let airflow_run = airflow.get(&path).await.unwrap();
    assert_eq!((&airflow_run["state"], &airflow_run["run_type"]), (&json!("queued"), &json!("manual")));
    let note = airflow_run["note"].as_str().unwrap();
    assert!(note.starts_with("by hand\n\nTriggered by Edith through Orchestration, space finance"), "{note}");

    let repeated = json!({ "run_id": created["external_id"] });
    assert!(assert_rejected(&test, pipeline, repeated, 409).await.contains("exists already"));
    let message = assert_rejected(&test, pipeline, json!({"conf": {"epochs": "many"}}), 400).await;
    assert!(message.contains("epochs"), "{message}");
    let message = assert_rejected(&test, unknown, json!({}), 404).await;
    assert!(message.contains("unknown_dag"), "{message}");
    let message =
        while_stale(&airflow, async || assert_rejected(&test, pipeline, json!({}), 404).await).await;
    assert!(message.contains(DAG), "{message}");

    let (viewer, password) = airflow.viewer.clone().unwrap();
    log_in(&test, &viewer, &password).await;
    assert_eq!(assert_rejected(&test, pipeline, json!({}), 403).await, "Forbidden");
    log_in(&test, &airflow.username, "wrong").await;
    assert_eq!(assert_rejected(&test, pipeline, json!({}), 401).await, "Invalid credentials");

    airflow.delete(&path).await.unwrap();
    pause(&airflow, was_paused).await;
}

async fn pause(airflow: &AirflowServer, is_paused: Value) {
    airflow.patch(&format!("dags/{DAG}"), &json!({ "is_paused": is_paused })).await.unwrap();
}

/// Calls `act` while the DAG is marked as stale, as if its file were deleted. Airflow's processor corrects
/// this itself.
async fn while_stale<T>(airflow: &AirflowServer, act: impl AsyncFnOnce() -> T) -> T {
    let mut metadata = PgConnection::connect(airflow.database_url.as_deref().unwrap()).await.unwrap();
    let update = "update dag set is_stale = $1 where dag_id = $2";
    sqlx::query(update).bind(true).bind(DAG).execute(&mut metadata).await.unwrap();
    let result = act().await;
    sqlx::query(update).bind(false).bind(DAG).execute(&mut metadata).await.unwrap();
    result
}
