//! Tests of the started servers as the tests of other crates use them.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// Starts an Airflow without a scheduler. While the guard is held, no other test here changes its history.
pub(crate) async fn seeded() -> anyhow::Result<(AirflowServer, MutexGuard<'static, ()>)> {
    static EXCLUSIVE: Mutex<()> = Mutex::const_new(());
    let guard = EXCLUSIVE.lock().await;
    let name = "airflow-seed-test".to_owned();
    let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
    Ok((local::airflow_instance(&setup).await?, guard))
}

#[tokio::test]
async fn seeded_airflow_serves_its_history_through_the_api() {
    let (airflow, _guard) = seeded().await.unwrap();
    let seed = Seed { prefix: "made".into(), dags: 2, runs: 40, tasks: 3 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    // Seeding is idempotent.
    local::seed_airflow(&airflow, &seed).await.unwrap();

    let runs = airflow.get("dags/made_0001/dagRuns?limit=100").await.unwrap();
    assert_eq!(runs["total_entries"], 40);
    let failed = airflow.get("dags/~/dagRuns?state=failed").await.unwrap();
    assert_eq!(failed["total_entries"], 4);
    let run = failed["dag_runs"][0]["dag_run_id"].as_str().unwrap();
    let tasks = airflow.get(&format!("dags/made_0000/dagRuns/{run}/taskInstances")).await.unwrap();
    let mut states: Vec<&str> = tasks["task_instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["state"].as_str().unwrap())
        .collect();
    states.sort_unstable();
    assert_eq!(states, ["failed", "success", "upstream_failed"]);
    let graph = airflow.get("dags/made_0000/tasks").await.unwrap();
    assert_eq!(graph["total_entries"], 3);
}

#[tokio::test]
async fn viewer_of_an_airflow_may_not_trigger_runs() {
    let (airflow, _guard) = seeded().await.unwrap();
    let seed = Seed { prefix: "made".into(), dags: 1, runs: 1, tasks: 1 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    let (user, password) = airflow.viewer.clone().unwrap();
    let viewer = AirflowServer::at(airflow.url.clone(), user, password);
    let (status, _) = viewer
        .request(Method::POST, "dags/made_0000/dagRuns", Some(&json!({"logical_date": null})))
        .await
        .unwrap();
    assert_eq!(status, 403);
}

#[tokio::test]
async fn triggered_run_of_an_example_dag_succeeds() {
    let airflow = local::airflow().await.unwrap();
    let timeout = Duration::from_secs(120);
    airflow.wait_for_dag("warehouse_stock", timeout).await.unwrap();
    airflow.unpause("warehouse_stock").await.unwrap();
    let run = airflow.trigger("warehouse_stock", &json!({"by": "test"})).await.unwrap();
    assert_eq!(airflow.wait_for_run("warehouse_stock", &run, timeout).await.unwrap(), "success");
    let path = format!("dags/warehouse_stock/dagRuns/{run}/taskInstances?task_id=count_stock");
    assert_eq!(airflow.get(&path).await.unwrap()["total_entries"], 4);
}

/// Airflow has one run of this DAG at a time: the one that is due meanwhile starts when the run by hand ends.
#[tokio::test]
async fn an_example_dag_starts_late_after_a_long_run_by_hand() {
    let airflow = local::airflow().await.unwrap();
    let (dag, interval, timeout) = ("payment_import", TimeDelta::minutes(3), Duration::from_secs(600));
    airflow.wait_for_dag(dag, timeout).await.unwrap();
    let path = format!("dags/{dag}");
    let was_paused = airflow.get(&path).await.unwrap()["is_paused"].clone();
    local::delay_next_start(&airflow).await.unwrap();
    let first = async |filter: &str| {
        let runs = airflow.get(&format!("{path}/dagRuns?{filter}&limit=1")).await.unwrap();
        runs["dag_runs"][0].clone()
    };
    let by_hand = first("run_type=manual&order_by=-id").await;
    let due_at = time(&by_hand["run_after"]).duration_trunc(interval).unwrap() + interval;
    local::eventually("the run is due", timeout, async || Utc::now() > due_at + TimeDelta::seconds(15)).await;
    let by_hand = format!("{path}/dagRuns/{}", by_hand["dag_run_id"].as_str().unwrap());
    let ended = airflow.patch(&by_hand, &json!({"state": "success"})).await.unwrap();
    let next = format!("run_type=scheduled&order_by=run_after&run_after_gte={}", due_at.format("%FT%TZ"));
    local::eventually("the next run starts", timeout, async || first(&next).await["start_date"].is_string())
        .await;
    assert!(time(&first(&next).await["start_date"]) >= time(&ended["end_date"]));
    airflow.patch(&path, &json!({ "is_paused": was_paused })).await.unwrap();
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

#[tokio::test]
async fn killed_servers_restart_with_their_data() {
    let name = "postgres-kill-test";
    let url = local::postgres_instance(name).await.unwrap();
    local::ensure_database(&url, "kept").await.unwrap();
    local::LocalService::named(name).kill().await.unwrap();
    assert!(local::ensure_database(&url, "kept").await.is_err(), "the killed server still answers");
    let url = local::postgres_instance(name).await.unwrap();
    local::ensure_database(&url, "kept").await.unwrap();

    let name = "kafka-kill-test";
    local::kafka_instance(name).await.unwrap();
    local::LocalService::named(name).kill().await.unwrap();
    let began = std::time::Instant::now();
    local::kafka_instance(name).await.unwrap();
    assert!(began.elapsed().as_secs() < 30);
    for name in ["postgres-kill-test", "kafka-kill-test"] {
        assert!(local::LocalService::named(name).stop().await.unwrap());
    }
}

#[tokio::test]
async fn receivers_list_a_webhook_and_an_email() {
    let receiver = local::receiver().await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let id = uuid::Uuid::new_v4().to_string();
    let body = json!({"type": "incident.opened"});
    let request = client.post(&receiver.url).header("webhook-id", &id).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 204);
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    std::fs::write(&mail, format!("Subject: =?utf-8?q?sp=C3=A4t?= {id}\r\n\r\nIt is late.\r\n")).unwrap();
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--url", &format!("smtp://127.0.0.1:{}", receiver.smtp_port)]);
    curl.args(["--mail-from", "a@demo.example", "--mail-rcpt", "b@demo.example", "--upload-file"]).arg(&mail);
    assert!(curl.status().unwrap().success());

    let listed: Value =
        serde_json::from_str(&client.get(&receiver.url).send().await.unwrap().text().await.unwrap()).unwrap();
    let messages = listed["messages"].as_array().unwrap();
    let webhook = messages.iter().find(|message| message["id"] == id.as_str()).unwrap();
    assert_eq!(webhook["body"], body);
    let subject = format!("spät {id}");
    let email = messages.iter().find(|message| message["subject"] == subject.as_str()).unwrap();
    assert_eq!((&email["to"], &email["text"]), (&json!(["b@demo.example"]), &json!("It is late.")));
    assert_eq!(client.post(&receiver.url).body("no JSON").send().await.unwrap().status(), 400);
}
