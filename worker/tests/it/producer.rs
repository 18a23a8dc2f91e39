//! The producer on a Kafka that injects errors.

use std::time::Duration;

use contract::events::{Record, Topic};
use platform::health::Heartbeat;
use platform::kafka::Producer;
use platform::offsets::Offsets;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::test_worker::TestWorker;

const BOUND: Duration = Duration::from_secs(120);

fn record() -> Record {
    Record { topic: Topic::Runs, key: "r1".to_owned(), headers: Vec::new(), payload: b"{}".to_vec() }
}

async fn is_sent(producer: &Producer) -> bool {
    let sent = tokio::time::timeout(BOUND, producer.send(&[record()])).await.expect("the call ends");
    sent.inspect_err(|error| println!("{error}")).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_with_a_fatal_error_is_replaced() {
    let kafka = MockCluster::new(1).unwrap();
    let config = testkit::kafka_config(&kafka.bootstrap_servers(), "");
    kafka.create_topic(&config.topic(Topic::Runs), 1, 1).unwrap();
    // A producer that may not be idempotent any more fails for good.
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    kafka.request_errors(RDKafkaApiKey::InitProducerId, &[fatal]);
    let producer = Producer::new(&config).unwrap();
    assert!(!is_sent(&producer).await, "the first batch meets the fatal error");
    assert!(is_sent(&producer).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_failing_after_some_failures_in_a_row_until_it_succeeds() {
    let kafka = MockCluster::new(1).unwrap();
    let config = testkit::kafka_config(&kafka.bootstrap_servers(), "");
    kafka.create_topic(&config.topic(Topic::Runs), 1, 1).unwrap();
    let producer = Producer::new(&config).unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    kafka.request_errors(RDKafkaApiKey::Produce, &[refused; 3]);
    for _ in 0..3 {
        assert!(!producer.is_failing());
        assert!(!is_sent(&producer).await);
    }
    assert!(producer.is_failing());
    assert!(producer.is_reachable().await);
    producer.permit_attempt();
    assert!(!producer.is_failing());
    assert!(is_sent(&producer).await);
    assert!(!producer.is_failing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kafka_had_already_stored_has_an_offset() {
    let kafka = MockCluster::new(1).unwrap();
    let config = testkit::kafka_config(&kafka.bootstrap_servers(), "");
    kafka.create_topic(&config.topic(Topic::Runs), 1, 1).unwrap();
    let producer = Producer::new(&config).unwrap();
    assert!(is_sent(&producer).await);
    // The acknowledgement of the first attempt was lost.
    let stored = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
    kafka.request_errors(RDKafkaApiKey::Produce, &[stored]);
    let sent = tokio::time::timeout(BOUND, producer.send(&[record()])).await.expect("the call ends").unwrap();
    // The simulated broker has not stored it.
    assert_eq!(sent.offsets, Offsets::from([((config.topic(Topic::Runs), 0), 1)]));
}

/// Another worker can finish the syncs that this one would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_batches_all_fail_claims_no_sync_until_kafka_responds() {
    let test = TestWorker::idle().await;
    let kafka = MockCluster::new(1).unwrap();
    let config = testkit::kafka_config(&kafka.bootstrap_servers(), "");
    kafka.create_topic(&config.topic(Topic::Runs), 1, 1).unwrap();
    kafka.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 3]);
    let mut runner = test.worker.runner.clone();
    runner.producer = Producer::new(&config).unwrap();
    for _ in 0..3 {
        assert!(!is_sent(&runner.producer).await);
    }
    kafka.broker_down(1).unwrap();
    test.enqueue_sync(false, false).await;
    let running = tokio::spawn(runner.run(1, Heartbeat::default()));
    // Longer than two looks at Kafka take.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
    kafka.broker_up(1).unwrap();
    test.wait_for("select count(*) = 0 from syncs where status = 'queued'").await;
    test.worker.runner.stop.cancel();
    tokio::time::timeout(BOUND, running).await.expect("the runner stops").unwrap();
}
