//! The example consumer, in Python and with another Kafka client: from the topic alone it builds the same
//! runs as the read model.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use contract::events::{RunObserved, Topic};
use contract::ids::RunId;
use contract::state::RunState;
use sqlx::types::Json;
use tokio::process::Command;

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_consumer_builds_all_runs_from_the_topic() {
    let test = TestWorker::idle().await;
    // Without the relay, newer events are not published again after late ones, so that the last record of a
    // run is often not its newest version.
    test.worker.start_projecting();
    let mut runs: Vec<RunObserved> =
        (0..300).map(|run| test.run("sales", &run.to_string(), 10, RunState::Running)).collect();
    test.send(&[test.pipeline("sales", 1)]).await;
    test.send(&runs).await;
    for run in &mut runs[..100] {
        (run.version, run.status, run.note) = (20, RunState::Success, Some("größer".to_owned()));
    }
    for run in &mut runs[100..110] {
        (run.version, run.deleted) = (21, true);
    }
    test.send(&runs).await;
    let late: Vec<_> = (0..200).map(|run| test.run("sales", &run.to_string(), 5, RunState::Queued)).collect();
    test.send(&late).await;
    test.wait_for("select count(*) = 300 and count(*) filter (where version >= 20) = 110 from runs").await;

    let consumed = consume(&test).await;
    assert_eq!(consumed.len(), 290);
    assert_eq!(consumed, read_model(&test).await);
}

/// The runs that the example prints.
async fn consume(test: &TestWorker) -> BTreeMap<RunId, RunObserved> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let requirements = examples.join("requirements.txt");
    let versions = ["3.12", "3.13", "3.11"];
    let python = local::python_environment("examples-venv", &versions, &requirements).await.unwrap();
    let output = Command::new(python.join("bin/python"))
        .arg(examples.join("consumer.py"))
        .arg(&test.kafka().kafka_bootstrap_servers)
        .arg(test.kafka().topic(Topic::Runs))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let runs = lines.map(|line| serde_json::from_slice::<RunObserved>(line).unwrap());
    runs.map(|run| (run.id, run)).collect()
}

/// The runs of the read model, which has the size of every `conf`. An event has it only where `conf` is left
/// out.
async fn read_model(test: &TestWorker) -> BTreeMap<RunId, RunObserved> {
    let runs: Vec<Json<RunObserved>> = sqlx::query_scalar(
        "select to_jsonb(r)
             || '{\"space\": \"test\", \"pipeline_external_id\": \"sales\", \"conf_bytes\": null}'
         from runs r where deleted_at is null",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap();
    runs.into_iter().map(|run| (run.id, run.0)).collect()
}
