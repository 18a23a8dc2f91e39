//! From a real Airflow to the read model and the topics, with the worker as a process.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};
use serde_json::json;
use testkit::WorkerProcess;
use tokio::sync::OnceCell;

use crate::mirror::assert_mirrors;
use crate::test_worker::TestWorker;

/// A server without a scheduler, seeded with 3,000 runs of 20 pipelines, so that nothing changes by itself.
pub(crate) async fn seeded_airflow() -> &'static AirflowServer {
    static SEEDED: OnceCell<AirflowServer> = OnceCell::const_new();
    let seeded = SEEDED.get_or_init(async || {
        let name = "airflow-seeded".to_owned();
        let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
        let airflow = local::airflow_instance(&setup).await.unwrap();
        let seed = Seed { prefix: "history".to_owned(), dags: 20, runs: 150, tasks: 2 };
        local::seed_airflow(&airflow, &seed).await.unwrap();
        airflow
    });
    seeded.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_that_is_killed_repeatedly_ends_equal_to_airflow() {
    let airflow = seeded_airflow().await;
    let test = TestWorker::idle().await;
    test.connect(airflow).await;
    test.execute("update connector_state set next_due_at = now()").await;
    for condition in [
        "select count(*) > 0 from pipelines",
        "select count(*) > 300 from runs",
        "select count(*) >= 3 from pipeline_crawls where crawled_at is not null",
    ] {
        let mut worker = WorkerProcess::start(&test.settings, &[]).await;
        test.wait_for(condition).await;
        worker.kill();
    }
    let read = histories_read(&test).await;
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.wait_for("select bool_or(last_success_at is not null) from connector_state").await;
    assert_mirrors(&test, airflow).await;
    assert!(read.is_subset(&histories_read(&test).await), "a finished history is not read again");
}

/// The histories that were read completely, and when.
async fn histories_read(test: &TestWorker) -> BTreeSet<(String, DateTime<Utc>)> {
    let read =
        sqlx::query_as("select external_id, crawled_at from pipeline_crawls where crawled_at is not null");
    BTreeSet::from_iter(read.fetch_all(&test.pool).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_triggered_in_airflow_is_projected_and_published() {
    let airflow = local::airflow().await.unwrap();
    let timeout = Duration::from_secs(120);
    airflow.wait_for_dag("warehouse_stock", timeout).await.unwrap();
    airflow.unpause("warehouse_stock").await.unwrap();
    let test = TestWorker::idle().await;
    test.connect(&airflow).await;
    test.execute("update connector_state set next_due_at = now()").await;
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.wait_for("select bool_or(last_success_at is not null) from connector_state").await;
    let run = airflow.trigger("warehouse_stock", &json!({"asked": "by a test"})).await.unwrap();
    assert_eq!(airflow.wait_for_run("warehouse_stock", &run, timeout).await.unwrap(), "success");
    test.wait_for(&format!(
        "select count(*) = 1 from runs
         where external_id = '{run}' and status = 'success' and conf->>'asked' = 'by a test'"
    ))
    .await;
    let id: uuid::Uuid = sqlx::query_scalar("select id from runs where external_id = $1")
        .bind(&run)
        .fetch_one(&test.pool)
        .await
        .unwrap();
    let events = test.events(contract::events::Topic::Runs, &id.to_string());
    let (headers, last) = events.last().unwrap();
    assert_eq!(last["status"], "success");
    assert_eq!(headers["ce_type"], "orchestration.run.observed.v1");
    assert_eq!(headers["ce_source"], format!("/spaces/test/connectors/{}", test.connector));
    assert_eq!(headers["ce_subject"], id.to_string());
    assert_eq!(headers["content-type"], "application/json");
    let versions: Vec<i64> = events.iter().map(|(_, event)| event["version"].as_i64().unwrap()).collect();
    assert!(versions.is_sorted());
}
