//! The sealing keys are exchanged under running workers, step by step as the operator's text says, and no sync fails
//! for it.

use api::cli::Cli;
use clap::Parser;
use local::AirflowServer;

use crate::faults::empty_airflow;
use crate::stage::{SEALING_KEY, Stage};
use crate::worker_process::Worker;

const NEW_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Asks for a sync and waits until the worker that runs has made it.
async fn assert_syncs(stage: &Stage) {
    let sync = stage.ask(false, false).await;
    let ended = async {
        loop {
            let (status, error): (String, Option<String>) =
                sqlx::query_as("select status, error from syncs where id = $1")
                    .bind(sync)
                    .fetch_one(&stage.pool)
                    .await
                    .unwrap();
            match status.as_str() {
                "succeeded" => return,
                "failed" => panic!("{error:?}"),
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ended).await.expect("the sync ends");
}

async fn reseal(stage: &Stage, keys: &str) {
    let arguments = [
        "orchestration-api",
        "credentials",
        "--database-url",
        stage.owner_url(),
        "reseal",
        "--sealing-keys",
        keys,
    ];
    api::run(Cli::parse_from(arguments)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_keys_are_exchanged_under_running_workers_without_a_failed_sync() {
    let stage = Stage::empty().await;
    stage.connect(&AirflowServer::at(empty_airflow().await, "svc".to_owned(), "right".to_owned())).await;
    let [old_first, new_first] = [format!("{SEALING_KEY},{NEW_KEY}"), format!("{NEW_KEY},{SEALING_KEY}")];
    let old = Worker::start(&stage);
    assert_syncs(&stage).await;
    // Each step starts the next worker before it stops the one before.
    let knows = Worker::with_sealing_keys(&stage, &old_first);
    drop(old);
    assert_syncs(&stage).await;
    let seals = Worker::with_sealing_keys(&stage, &new_first);
    drop(knows);
    assert_syncs(&stage).await;
    reseal(&stage, &new_first).await;
    assert_syncs(&stage).await;
    let new = Worker::with_sealing_keys(&stage, NEW_KEY);
    drop(seals);
    assert_syncs(&stage).await;
    drop(new);
    assert_eq!(stage.number("select count(*) from syncs where status = 'failed'").await, 0);
    // And the old key is good for nothing any more.
    let _old = Worker::start(&stage);
    let failed = stage.ask(false, false).await;
    stage.until("select count(*) = 1 from syncs where status = 'failed'").await;
    let reason: String = sqlx::query_scalar("select error from syncs where id = $1")
        .bind(failed)
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert!(reason.contains("open with none of the sealing keys"), "{reason}");
}
