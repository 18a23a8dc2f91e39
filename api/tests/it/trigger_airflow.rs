//! Triggering on a real Airflow: what it takes, and its own words where it refuses.

use std::time::Duration;

use axum::http::Method;
use contract::ids::PipelineId;
use local::AirflowServer;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::app::{SPACE, TestApi};
use crate::seed::EDITOR;
use crate::trigger::trigger;

/// A DAG that takes a number, and only a positive one.
const DAG: &str = "train_model";

/// A test whose connector leads to our Airflow.
async fn test() -> (TestApi, AirflowServer) {
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

/// Asserts that Airflow itself refuses with this code, and gives its words.
async fn refused(test: &TestApi, pipeline: PipelineId, body: Value, code: u16) -> String {
    let answer = trigger(test, pipeline, None, body).await.expect(code);
    assert_eq!((&answer["provider"], &answer["provider_status"]), (&json!("airflow"), &json!(code)));
    answer["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_airflow_takes_and_refuses_is_told_as_it_is() {
    let (test, airflow) = test().await;
    let pipeline = test.pipeline(DAG).await;
    let unknown = test.pipeline("nobody_has_this").await;
    let was_paused = airflow.get(&format!("dags/{DAG}")).await.unwrap()["is_paused"].clone();
    pause(&airflow, json!(true)).await;

    let made =
        trigger(&test, pipeline, None, json!({"conf": {"epochs": 1}, "note": "by hand"})).await.expect(201);
    assert_eq!((&made["status"], &made["conf"]["epochs"]), (&json!("queued"), &json!(1)));
    assert_eq!(test.read(&format!("/runs/{}", made["id"].as_str().unwrap())).await, made);
    let path = format!("dags/{DAG}/dagRuns/{}", made["external_id"].as_str().unwrap());
    let theirs = airflow.get(&path).await.unwrap();
    assert_eq!((&theirs["state"], &theirs["run_type"]), (&json!("queued"), &json!("manual")));
    let note = theirs["note"].as_str().unwrap();
    assert!(note.starts_with("by hand\n\nTriggered by Edith through Orchestration, space finance"), "{note}");

    let again = json!({ "run_id": made["external_id"] });
    assert!(refused(&test, pipeline, again, 409).await.contains("exists already"));
    let told = refused(&test, pipeline, json!({"conf": {"epochs": "many"}}), 400).await;
    assert!(told.contains("epochs"), "{told}");
    let told = refused(&test, unknown, json!({}), 404).await;
    assert!(told.contains("nobody_has_this"), "{told}");
    let told = stale(&airflow, async || refused(&test, pipeline, json!({}), 404).await).await;
    assert!(told.contains(DAG), "{told}");

    let (viewer, password) = airflow.viewer.clone().unwrap();
    log_in(&test, &viewer, &password).await;
    assert_eq!(refused(&test, pipeline, json!({}), 403).await, "Forbidden");
    log_in(&test, &airflow.username, "wrong").await;
    assert_eq!(refused(&test, pipeline, json!({}), 401).await, "Invalid credentials");

    airflow.delete(&path).await.unwrap();
    pause(&airflow, was_paused).await;
}

async fn pause(airflow: &AirflowServer, is_paused: Value) {
    airflow.patch(&format!("dags/{DAG}"), &json!({ "is_paused": is_paused })).await.unwrap();
}

/// Does this while Airflow thinks that the DAG's file is gone; its processor finds the file again by itself.
async fn stale<T>(airflow: &AirflowServer, act: impl AsyncFnOnce() -> T) -> T {
    let mut metadata = PgConnection::connect(airflow.database_url.as_deref().unwrap()).await.unwrap();
    let mark = "update dag set is_stale = $1 where dag_id = $2";
    sqlx::query(mark).bind(true).bind(DAG).execute(&mut metadata).await.unwrap();
    let done = act().await;
    sqlx::query(mark).bind(false).bind(DAG).execute(&mut metadata).await.unwrap();
    done
}
