//! Kafka stops responding while connections stay open: reads go on, the worker names Kafka, and projection,
//! syncs and outbox continue once it responds again.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use contract::events::{Record, Topic};
use local::LocalService;
use platform::kafka::{KafkaConfig, Producer};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use testkit::{ApiProcess, BlackholeProxy, FakeAirflow, WorkerProcess, eventually};

use crate::test_worker::TestWorker;

const KAFKA: &str = "kafka-blackhole";
const KAFKA_OF_FETCHES: &str = "kafka-fetches";
/// The documented maximum time until the worker continues after Kafka responds again.
const BOUND: Duration = Duration::from_secs(60);

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The status and the text of a response; none without a response.
pub(crate) async fn get(url: &str) -> Option<(u16, String)> {
    let response = reqwest::get(url).await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

/// A consumer that reads from the start of the runs.
fn consumer(config: &KafkaConfig) -> BaseConsumer {
    let consumer: BaseConsumer = config.client().set("group.id", "reader").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..config.kafka_partitions {
        let topic = config.topic(Topic::Runs);
        partitions.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    consumer
}

/// Sends a record on a connection of its own, and returns how long the consumer waits for it.
async fn send_and_receive(config: &KafkaConfig, consumer: &BaseConsumer) -> Duration {
    let (key, payload) = ("r1".to_owned(), b"{}".to_vec());
    let record = Record { topic: Topic::Runs, key, headers: Vec::new(), payload };
    Producer::new(config).unwrap().send(&[record]).await.unwrap();
    let sent = Instant::now();
    let is_received = async || {
        let polled = tokio::task::block_in_place(|| consumer.poll(Duration::from_millis(100)));
        matches!(polled, Some(Ok(_)))
    };
    eventually("the record is received", 2 * BOUND, is_received).await;
    sent.elapsed()
}

/// Kafka's own default is a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_without_a_response_is_sent_again_after_half_a_minute() {
    let proxy = BlackholeProxy::start_before_kafka(KAFKA_OF_FETCHES).await;
    let config = testkit::test_topics(&proxy.url).await;
    testkit::create_topics(&config).await;
    let consumer = consumer(&config);
    send_and_receive(&config, &consumer).await;
    proxy.block();
    // All connections are silent, and a fetch is outstanding on one of them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.open();
    let waited = send_and_receive(&config, &consumer).await;
    assert!(waited < Duration::from_secs(45), "{waited:?}");
    drop(consumer);
    LocalService::named(KAFKA_OF_FETCHES).stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn projection_syncs_and_outbox_continue_after_kafka_stopped_responding() {
    let proxy = BlackholeProxy::start_before_kafka(KAFKA).await;
    let test = TestWorker::idle_with(&proxy.url).await;
    let airflow = FakeAirflow::start(1).await;
    test.set_base_url(&format!("{}/healthy", airflow.url)).await;
    let address = free_address();
    let worker =
        WorkerProcess::spawn(&mut test.settings.worker(&["run", "--metrics-listen", &address]).await);
    let health = format!("http://{address}/health");
    let api = ApiProcess::start(&test.owner_settings(), &[]).await;
    api.wait_until_ready().await;
    test.execute("update connector_state set next_due_at = now()").await;
    test.wait_for("select count(*) = 1 from runs").await;

    proxy.block();
    airflow.add_changed_run("during");
    eventually("the worker names Kafka", BOUND, async || {
        get(&health)
            .await
            .is_some_and(|(status, text)| status == 200 && text.contains("Kafka does not answer"))
    })
    .await;
    let (status, parts) = get(&format!("{}/readyz", api.url)).await.unwrap();
    assert!(status == 200 && parts.contains(r#""kafka":"away""#), "{status} {parts}");
    let claims = test.number("select max(lease_epoch) from connector_state").await;
    test.enqueue_sync(false, false).await;

    proxy.open();
    test.wait_for_within(BOUND, "select count(*) = 2 from runs").await;
    test.wait_for_within(BOUND, "select count(*) = 0 from outbox").await;
    let is_claimed = format!("select max(lease_epoch) > {claims} from connector_state");
    test.wait_for_within(BOUND, &is_claimed).await;
    let is_well = async || get(&health).await == Some((200, "alive\n".to_owned()));
    eventually("the worker names no server", BOUND, is_well).await;
    let is_back = async || get(&format!("{}/readyz", api.url)).await.unwrap().1.contains(r#""kafka":"ok""#);
    eventually("the API reaches Kafka", BOUND, is_back).await;
    drop((worker, api));
    LocalService::named(KAFKA).stop().await.unwrap();
}
