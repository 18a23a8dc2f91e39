//! Responses recorded from three releases of Airflow, as events.

use provider::connector::Credentials;
use provider::{RunScope, TaskRunScope};
use serde::Serialize;
use serde_json::Value;
use wiremock::MockServer;

use crate::airflow_server::{
    mock_get, observation, pretty, probe, provider, provider_as, start_airflow, time,
};

/// Mocks the endpoints, which differ between the releases in the API version only.
async fn mount(server: &MockServer, api: &str, release: &str) {
    let scheduled = if api == "v1" { "scheduled__2026-11-23" } else { "scheduled__2026-11-24" };
    for (at, status, name) in [
        ("dags".to_owned(), 200, "dags.json"),
        ("dags/nope".to_owned(), 404, "no_dag.json"),
        ("dags/outcomes/tasks".to_owned(), 200, "tasks_outcomes.json"),
        ("dags/~/dagRuns".to_owned(), 200, "dag_runs.json"),
        ("dags/outcomes/dagRuns/r1".to_owned(), 200, "dag_run.json"),
        ("dags/outcomes/dagRuns/nope".to_owned(), 404, "no_dag_run.json"),
        ("dags/outcomes/dagRuns/r1/taskInstances".to_owned(), 200, "task_instances_outcomes.json"),
        ("dags/waits/dagRuns/w1/taskInstances".to_owned(), 200, "task_instances_waits.json"),
        (
            format!("dags/daily_sales/dagRuns/{scheduled}T00:00:00+00:00/taskInstances"),
            200,
            "task_instances_daily_sales.json",
        ),
    ] {
        mock_get(server, &format!("/api/{api}/{at}"), status, release, name).await;
    }
}

/// Serializes to JSON without the address of the server.
fn to_json<T: Serialize>(server: &MockServer, events: &T) -> Value {
    let json = serde_json::to_string(events).unwrap().replace(&server.uri(), "https://airflow.example");
    serde_json::from_str(&json).unwrap()
}

async fn snapshot(server: &MockServer, release: &str, scheduled: &str) {
    let airflow = provider(&server.uri());
    let (version, clock) = probe(airflow.as_ref()).await.unwrap();
    assert!(version.starts_with(release), "{version}");
    assert_eq!(clock, time("2026-11-24T00:30:00Z"));

    let pipelines = airflow.pipelines(observation(), None).await.unwrap();
    assert_eq!(pipelines.next, None);
    insta::assert_snapshot!(format!("{release}_pipelines"), pretty(&to_json(server, &pipelines.items)));
    let tasks = airflow.tasks("outcomes").await.unwrap().value;
    insta::assert_snapshot!(format!("{release}_tasks"), pretty(&tasks));

    let runs = airflow
        .runs(&RunScope::ChangedSince(time("2026-11-24T00:00:00Z")), observation(), None)
        .await
        .unwrap();
    assert_eq!(runs.next, None);
    insta::assert_snapshot!(format!("{release}_runs"), pretty(&to_json(server, &runs.items)));
    let run = airflow.run("outcomes", "r1", observation()).await.unwrap().unwrap().value;
    assert_eq!((run.external_id.as_str(), run.note.as_deref()), ("r1", Some("asked by hand")));

    let mut task_runs = Vec::new();
    for (pipeline, run) in [("outcomes", "r1"), ("waits", "w1"), ("daily_sales", scheduled)] {
        let scope = TaskRunScope::Run { pipeline: pipeline.to_owned(), run: run.to_owned() };
        task_runs.extend(airflow.task_runs(&scope, observation(), None).await.unwrap().items);
    }
    insta::assert_snapshot!(format!("{release}_task_runs"), pretty(&to_json(server, &task_runs)));

    assert!(!airflow.has_pipeline("nope").await.unwrap());
    assert_eq!(airflow.run("outcomes", "nope", observation()).await, Ok(None));
}

#[tokio::test]
async fn airflow_3_3_becomes_events() {
    let server = start_airflow("3.3").await;
    mount(&server, "v2", "3.3").await;
    snapshot(&server, "3.3", "scheduled__2026-11-24T00:00:00+00:00").await;
}

#[tokio::test]
async fn airflow_3_1_becomes_events() {
    let server = start_airflow("3.1").await;
    mount(&server, "v2", "3.1").await;
    snapshot(&server, "3.1", "scheduled__2026-11-24T00:00:00+00:00").await;
}

#[tokio::test]
async fn airflow_2_11_becomes_events() {
    let server = start_airflow("2.11").await;
    mount(&server, "v1", "2.11").await;
    snapshot(&server, "2.11", "scheduled__2026-11-23T00:00:00+00:00").await;
}

#[tokio::test]
async fn tasks_in_flight_keep_their_state() {
    let server = start_airflow("3.3").await;
    let at = "/api/v2/dags/outcomes/dagRuns/in_flight/taskInstances";
    mock_get(&server, at, 200, "3.3", "task_instances_in_flight.json").await;
    let scope = TaskRunScope::Run { pipeline: "outcomes".to_owned(), run: "in_flight".to_owned() };
    let tasks = provider(&server.uri()).task_runs(&scope, observation(), None).await.unwrap().items;
    let mut states: Vec<_> = tasks.iter().map(|task| format!("{}: {}", task.task_id, task.status)).collect();
    states.sort();
    insta::assert_snapshot!(states.join("\n"));
}

#[tokio::test]
async fn the_base_path_prefixes_all_requests() {
    let server = MockServer::start().await;
    mock_get(&server, "/team/airflow/api/v2/version", 200, "3.3", "version.json").await;
    mock_get(&server, "/team/airflow/api/v2/dags", 200, "3.3", "dags.json").await;
    let url = format!("{}/team/airflow/", server.uri());
    let airflow = provider_as(&url, &Credentials::None);
    let pipeline = airflow.pipelines(observation(), None).await.unwrap().items.remove(0);
    assert_eq!(pipeline.external_url, Some(format!("{}/team/airflow/dags/by_asset", server.uri())));
}
