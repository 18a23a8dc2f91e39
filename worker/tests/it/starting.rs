//! A worker starts before Kafka, waits for brokers that are late, stays alive without work, and stops without
//! a task that does not end.

use std::future::pending;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use testkit::WorkerProcess;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kafka_blackhole::{free_address, get};
use crate::test_worker::TestWorker;

const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_kafka_that_starts_later() {
    let mut test = TestWorker::idle().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kafka = std::mem::replace(&mut test.settings.kafka.kafka_bootstrap_servers, address.to_string());
    let worker = test.open_worker(&test.settings.database_url, &[]);
    let mut waiting = Box::pin(worker.await_topics());
    // Longer than one attempt.
    tokio::select! {
        ended = &mut waiting => panic!("the worker does not wait: {ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(12)) => {}
    }
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let kafka = kafka.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(kafka).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    timeout(BOUND, waiting).await.expect("the worker goes on").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_brokers_end_the_worker_after_a_minute_and_not_at_once() {
    let mut test = TestWorker::idle().await;
    test.settings.kafka.kafka_prefix.push_str("new-");
    let worker = test.open_worker(&test.settings.database_url, &["--kafka-replication", "2"]);
    let started = Instant::now();
    let ended = timeout(BOUND, worker.await_topics()).await.expect("the worker ends");
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("no more replicas than there are brokers"), "{error}");
    assert!(started.elapsed() > Duration::from_secs(30), "after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_without_a_task_that_does_not_end() {
    let test = TestWorker::idle().await;
    let worker = test.open_worker(&test.settings.database_url, &[]);
    worker.tasks.spawn(pending::<()>());
    timeout(BOUND, worker.stop()).await.expect("the worker stops");
}

/// Every part records its heartbeat, whether or not it has work.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_stays_alive_for_longer_than_an_iteration_may_take() {
    let test = TestWorker::idle().await;
    let address = free_address();
    let arguments = ["run", "--metrics-listen", &address, "--statement-timeout", "1"];
    let _worker = WorkerProcess::spawn(&mut test.settings.worker(&arguments).await);
    let health = format!("http://{address}/health");
    testkit::eventually("the worker listens", BOUND, async || get(&health).await.is_some()).await;
    let listens = Instant::now();
    // An iteration may take 31 seconds with this timeout.
    while listens.elapsed() < Duration::from_secs(45) {
        let (status, text) = get(&health).await.expect("the worker answers");
        assert_eq!(status, 200, "{text}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[test]
fn no_error_of_a_setting_has_its_value() {
    let required =
        ["run", "--database-url=postgres://x", "--kafka-bootstrap-servers=x:1", "--sealing-keys=x"];
    testkit::assert_hidden_settings::<worker::cli::WorkerCli>(&required);
}
