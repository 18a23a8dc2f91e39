//! A log that is not the one that was read before: its topic was deleted and created again, or it has lost
//! its end, and it has as many records as before. None of them is skipped.

use std::path::Path;
use std::time::Duration;

use contract::events::{Record, RunObserved, Topic};
use contract::state::RunState;
use local::LocalService;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use uuid::Uuid;

use crate::test_worker::TestWorker;

const KAFKA: &str = "kafka-truncated";
const TIMEOUT: Duration = Duration::from_secs(60);

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

/// How far the topic of runs was applied, by partition.
async fn stored_offsets(test: &TestWorker) -> Vec<(i32, i64)> {
    let offsets = platform::offsets::find_projected(&test.pool).await.unwrap();
    let topic = test.kafka().topic(Topic::Runs);
    let of_topic = offsets.into_iter().filter(|((name, _), _)| *name == topic);
    of_topic.map(|((_, partition), next)| (partition, next)).collect()
}

/// Sends runs to a partition of the topic of runs in a transaction: the offset after them has no record.
fn send_before_gap(test: &TestWorker, partition: i32, runs: &[RunObserved]) {
    let mut client = test.kafka().client();
    let producer: BaseProducer = client.set("transactional.id", Uuid::new_v4().to_string()).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    let topic = test.kafka().topic(Topic::Runs);
    for run in runs {
        let record = Record::of(run).unwrap();
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let sent = BaseRecord::to(&topic).partition(partition).key(&record.key).payload(&record.payload);
        producer.send(sent.headers(headers)).unwrap();
    }
    producer.commit_transaction(TIMEOUT).unwrap();
}

/// Deletes the batches of a log from this offset on, as a broker loses records that it has not flushed.
fn truncate_log(partition: &Path, end: i64) {
    let path = partition.join("00000000000000000000.log");
    let log = std::fs::read(&path).unwrap();
    let mut batch = 0;
    while i64::from_be_bytes(log[batch..batch + 8].try_into().unwrap()) < end {
        let length = u32::from_be_bytes(log[batch + 8..batch + 12].try_into().unwrap());
        batch += 12 + usize::try_from(length).unwrap();
    }
    std::fs::write(&path, &log[..batch]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_is_recognized_without_the_record_at_the_stored_offset() {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    test.send(&runs(&test, "old", 40)).await;
    test.wait_for("select count(*) = 40 from runs").await;
    projecting.stop().await;
    create_topic_again(&test).await;
    for (partition, next) in stored_offsets(&test).await {
        let new = runs(&test, &format!("new{partition}."), usize::try_from(next - 1).unwrap());
        send_before_gap(&test, partition, &new);
    }
    test.send(&runs(&test, "later", 20)).await;
    let _projecting = test.start_another();
    // Of each partition, all but one of the old number, and the later ones.
    test.wait_for("select count(*) = 40 + 40 - 2 + 20 from runs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_lost_its_end_is_recognized_without_the_record_at_the_stored_offset() {
    let test = TestWorker::idle_with(&local::kafka_instance(KAFKA).await.unwrap()).await;
    let projecting = test.start_another();
    test.send(&runs(&test, "kept", 20)).await;
    test.wait_for("select count(*) = 20 from runs").await;
    let kept = stored_offsets(&test).await;
    test.send(&runs(&test, "lost", 20)).await;
    test.wait_for("select count(*) = 40 from runs").await;
    projecting.stop().await;
    LocalService::named(KAFKA).kill().await.unwrap();
    let logs = local::kafka_logs(KAFKA).unwrap();
    for (partition, end) in &kept {
        truncate_log(&logs.join(format!("{}-{partition}", test.kafka().topic(Topic::Runs))), *end);
    }
    local::kafka_instance(KAFKA).await.unwrap();
    let mut new = 0;
    for ((partition, end), (_, next)) in kept.into_iter().zip(stored_offsets(&test).await) {
        let count = usize::try_from(next - 1 - end).unwrap();
        send_before_gap(&test, partition, &runs(&test, &format!("new{partition}."), count));
        send_before_gap(&test, partition, &runs(&test, &format!("later{partition}."), 5));
        new += count + 5;
    }
    let _projecting = test.start_another();
    test.wait_for(&format!("select count(*) = 40 + {new} from runs")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_while_no_worker_ran_is_read_from_its_start() {
    read_again(None).await;
}

/// As with a broker that gives topics no id, and after an upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_an_id_is_recognized_by_the_timestamp_of_its_last_record() {
    read_again(Some("update projection_offsets set topic_id = null")).await;
}

/// Creates a topic again after this statement and reads it.
async fn read_again(statement: Option<&'static str>) {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    test.send(&runs(&test, "old", 20)).await;
    test.wait_for("select count(*) = 20 from runs").await;
    projecting.stop().await;
    if let Some(statement) = statement {
        test.execute(statement).await;
    }
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
