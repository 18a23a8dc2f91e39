//! Outages of PostgreSQL and Kafka under a running worker: it recovers by itself, and no request or event is
//! lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::events::Topic;
use contract::state::RunState;
use futures::FutureExt;
use futures::future::BoxFuture;
use local::LocalService;
use platform::health::Heartbeat;
use sqlx::PgConnection;
use testkit::WorkerProcess;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use worker::consumer::{self, ConsumerConfig};
use worker::projection;
use worker::records::{ConsumedRecord, Rejected};

use crate::test_worker::TestWorker;

const POSTGRES: &str = "postgres-outages";
const KAFKA: &str = "kafka-outages";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_survives_outages_of_postgres_and_kafka_without_loss() {
    let test = TestWorker::isolated(POSTGRES, &local::kafka_instance(KAFKA).await.unwrap()).await;
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.send(&[test.run("sales", "before", 1, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;

    LocalService::named(POSTGRES).kill().await.unwrap();
    test.send(&[test.run("sales", "without postgres", 2, RunState::Success)]).await;
    local::postgres_instance(POSTGRES).await.unwrap();
    test.wait_for("select count(*) = 2 from runs").await;

    LocalService::named(KAFKA).kill().await.unwrap();
    let sync = test.enqueue_sync(false, false).await;
    test.wait_for("select bool_and(status = 'failed') from syncs where trigger = 'manual'").await;
    local::kafka_instance(KAFKA).await.unwrap();
    test.send(&[test.run("sales", "after kafka", 3, RunState::Success)]).await;
    test.wait_for("select count(*) = 3 from runs").await;
    // Events of the outage were kept in the outbox, and are published now.
    test.wait_for("select count(*) = 0 from outbox").await;
    let events = test.events(Topic::Syncs, &sync.to_string());
    assert_eq!(events.last().unwrap().1["status"], "failed");
}

static FAILS: AtomicBool = AtomicBool::new(false);

/// Projects records, or fails as if PostgreSQL were unavailable.
fn apply<'a>(
    db: &'a mut PgConnection,
    messages: &'a [ConsumedRecord],
) -> BoxFuture<'a, Result<Vec<Rejected>, sqlx::Error>> {
    async move {
        if FAILS.load(Ordering::SeqCst) {
            Err(sqlx::Error::PoolTimedOut)
        } else {
            projection::apply(db, messages).await
        }
    }
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_assigned_during_an_outage_of_postgres_are_not_lost() {
    let test = TestWorker::idle().await;
    let consumption = ConsumerConfig {
        kafka: test.kafka().clone(),
        pool: test.worker.runner.pool.clone(),
        group: "projector",
        topics: &Topic::STATE,
        apply,
        heartbeat: Heartbeat::default(),
    };
    let consume = |stop: CancellationToken| {
        let (consumption, runtime) = (consumption.clone(), Handle::current());
        tokio::task::spawn_blocking(move || consumer::run(&consumption, &runtime, &stop))
    };
    let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
    // A consumer thread that is not stopped would keep a failing test from ending.
    let _ends = [stop.clone().drop_guard(), leave.clone().drop_guard()];
    let (staying, leaving) = (consume(stop.clone()), consume(leave.clone()));
    let runs = |from: i32, to: i32| -> Vec<_> {
        (from..to).map(|run| test.run("sales", &format!("r{run}"), 1, RunState::Success)).collect()
    };
    test.send(&runs(0, 40)).await;
    test.wait_for("select count(*) = 40 from runs").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    FAILS.store(true, Ordering::SeqCst);
    test.send(&runs(40, 80)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    leave.cancel();
    leaving.await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    FAILS.store(false, Ordering::SeqCst);
    test.wait_for("select count(*) = 80 from runs").await;
    stop.cancel();
    staying.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_while_it_joins_its_consumer_group() {
    let test = TestWorker::idle().await;
    let _steady = test.start_another();
    for step in 0..40 {
        let worker = test.start_another();
        let tasks = worker.tasks.clone();
        tokio::time::sleep(Duration::from_millis(25 * step)).await;
        worker.stop().await;
        assert!(tasks.is_empty(), "a worker stopped after {} ms does not end", 25 * step);
    }
}
