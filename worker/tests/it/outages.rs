//! PostgreSQL and Kafka go away under a running worker and come back: so does the worker, by itself, and nothing of
//! what was asked or published meanwhile is missing.

use local::Service;
use shared::state::RunState;

use crate::stage::Stage;
use crate::worker_process::Worker;

const POSTGRES: &str = "postgres-outages";
const KAFKA: &str = "kafka-outages";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_kafka_killed_under_a_running_worker_come_back_with_nothing_lost() {
    let stage = Stage::apart(POSTGRES, &local::kafka_instance(KAFKA).await.unwrap()).await;
    let _worker = Worker::start(&stage);
    stage.send(&[stage.run("sales", "before", 1, RunState::Success)]).await;
    stage.until("select count(*) = 1 from runs").await;

    Service::named(POSTGRES).kill().await.unwrap();
    stage.send(&[stage.run("sales", "without postgres", 2, RunState::Success)]).await;
    local::postgres_instance(POSTGRES).await.unwrap();
    stage.until("select count(*) = 2 from runs").await;

    Service::named(KAFKA).kill().await.unwrap();
    let sync = stage.ask(false, false).await;
    stage.until("select bool_and(status = 'failed') from syncs where trigger = 'manual'").await;
    local::kafka_instance(KAFKA).await.unwrap();
    stage.send(&[stage.run("sales", "after kafka", 3, RunState::Success)]).await;
    stage.until("select count(*) = 3 from runs").await;
    // What the worker said while Kafka was away was kept, and is told now.
    stage.until("select count(*) = 0 from outbox").await;
    let told = stage.events(shared::events::Topic::Syncs, &sync.to_string());
    assert_eq!(told.last().unwrap().1["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_while_it_joins_its_group_ends() {
    let stage = Stage::empty().await;
    let _steady = stage.parts_again();
    for step in 0..40 {
        let parts = stage.parts_again();
        let tasks = parts.tasks.clone();
        tokio::time::sleep(std::time::Duration::from_millis(25 * step)).await;
        parts.stop().await;
        assert!(tasks.is_empty(), "stopped after {} ms it does not end", 25 * step);
    }
}
