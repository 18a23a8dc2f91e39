//! A log that is not the one that was read before: its topic was deleted and created again, and has as many
//! records as before. None of them is skipped.

use std::time::Duration;

use contract::events::{RunObserved, Topic};
use contract::state::RunState;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::test_worker::TestWorker;

fn runs(test: &TestWorker, label: &str, count: usize) -> Vec<RunObserved> {
    (0..count).map(|run| test.run("sales", &format!("{label}{run}"), 1, RunState::Success)).collect()
}

/// Deletes the topic of runs and waits until the worker has created it again.
async fn create_topic_again(test: &TestWorker) {
    let admin: AdminClient<DefaultClientContext> = test.kafka().client().create().unwrap();
    let topic = test.kafka().topic(Topic::Runs);
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    // Otherwise the records would still reach the deleted one.
    testkit::eventually("the topic is deleted", Duration::from_secs(60), async || {
        let resource = ResourceSpecifier::Topic(&topic);
        let described = admin.describe_configs(&[resource], &AdminOptions::new()).await.unwrap();
        described[0].as_ref().is_ok_and(|config| config.entries.is_empty())
    })
    .await;
    testkit::create_topics(test.kafka()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_while_no_worker_ran_is_read_from_its_start() {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    test.send(&runs(&test, "old", 20)).await;
    test.wait_for("select count(*) = 20 from runs").await;
    projecting.stop().await;
    create_topic_again(&test).await;
    // More records than before in each partition: the stored offsets are within the new log.
    test.send(&runs(&test, "new", 60)).await;
    let projecting = test.start_another();
    test.wait_for("select count(*) = 80 from runs").await;
    projecting.stop().await;
    // It is read once.
    let _projecting = test.start_another();
    test.send(&runs(&test, "later", 1)).await;
    test.wait_for("select count(*) = 81 from runs").await;
    test.wait_for(
        "select sum(next_offset) = 61 from projection_offsets where topic like '%.orchestration.runs.v1'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_created_again_under_a_running_worker_is_read_from_its_start() {
    let test = TestWorker::start().await;
    test.send(&runs(&test, "old", 20)).await;
    test.wait_for("select count(*) = 20 from runs").await;
    create_topic_again(&test).await;
    test.send(&runs(&test, "new", 5)).await;
    test.wait_for("select count(*) = 25 from runs").await;
}
