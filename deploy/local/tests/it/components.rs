//! Tests of the started servers as the tests of other crates use them.

use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};
use reqwest::Method;
use serde_json::json;
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
    let timeout = std::time::Duration::from_secs(120);
    airflow.wait_for_dag("warehouse_stock", timeout).await.unwrap();
    airflow.unpause("warehouse_stock").await.unwrap();
    let run = airflow.trigger("warehouse_stock", &json!({"by": "test"})).await.unwrap();
    assert_eq!(airflow.wait_for_run("warehouse_stock", &run, timeout).await.unwrap(), "success");
    let path = format!("dags/warehouse_stock/dagRuns/{run}/taskInstances?task_id=count_stock");
    assert_eq!(airflow.get(&path).await.unwrap()["total_entries"], 4);
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

    let listed: serde_json::Value =
        serde_json::from_str(&client.get(&receiver.url).send().await.unwrap().text().await.unwrap()).unwrap();
    let messages = listed["messages"].as_array().unwrap();
    let webhook = messages.iter().find(|message| message["id"] == id.as_str()).unwrap();
    assert_eq!(webhook["body"], body);
    let subject = format!("spät {id}");
    let email = messages.iter().find(|message| message["subject"] == subject.as_str()).unwrap();
    assert_eq!((&email["to"], &email["text"]), (&json!(["b@demo.example"]), &json!("It is late.")));
    assert_eq!(client.post(&receiver.url).body("no JSON").send().await.unwrap().status(), 400);
}
