//! A rebuild gives way to readers, waits for Kafka, and ends where a topic ends.

use std::process::Stdio;
use std::time::Duration;

use contract::events::Topic;
use contract::state::RunState;
use local::LocalService;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::time::timeout;

use crate::test_worker::TestWorker;

const TIMEOUT: Duration = Duration::from_secs(120);
const KAFKA: &str = "kafka-rebuild";

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_wait_behind_the_swap_for_a_backup() {
    let test = TestWorker::start().await;
    test.send(&[test.run("sales", "r1", 1, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;
    // A backup holds its locks until its end, which comes once its output is read: no pipe has room for this.
    test.execute("create table ballast as select md5(n::text) from generate_series(1, 100000) n").await;
    let backup = tokio::process::Command::new(local::postgres_program("pg_dump").await.unwrap())
        .arg(test.owner_url())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let has_locked = "select count(*) > 0 from pg_locks
         where granted and mode = 'AccessShareLock' and relation = 'runs'::regclass and pid in
             (select pid from pg_stat_activity where application_name = 'pg_dump')";
    test.wait_for(has_locked).await;
    let command = test.owner_settings().worker(&["rebuild"]).await;
    let rebuild = tokio::spawn(testkit::stdout_of(command));
    let is_swapping = "select count(*) > 0 from pg_locks
         where not granted and mode = 'AccessExclusiveLock' and relation = 'pipeline_metrics'::regclass";
    test.wait_for(is_swapping).await;
    let count = sqlx::query_scalar::<_, i64>("select count(*) from runs").fetch_one(&test.pool);
    let count = timeout(TIMEOUT, count).await.expect("the reader does not wait for the backup");
    assert_eq!(count.unwrap(), 1);
    test.send(&[test.run("sales", "r2", 2, RunState::Success)]).await;
    test.wait_for("select count(*) = 2 from runs").await;
    test.wait_for(is_swapping).await;
    let dumped = backup.wait_with_output().await.unwrap();
    assert!(dumped.status.success());
    assert!(String::from_utf8_lossy(&dumped.stdout).contains("PostgreSQL database dump complete"));
    let output = timeout(TIMEOUT, rebuild).await.expect("the rebuild ends").unwrap();
    assert!(output.contains("from 2 records"), "{output}");
    assert_eq!(test.number("select count(*) from runs").await, 2);
    let counted =
        "select sum(n)::bigint from (select n from run_counts union all select n from run_changes) c";
    assert_eq!(test.number(counted).await, 2);
}

/// Sends a record in a transaction, whose end takes one more offset without a record.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_ends_at_an_offset_without_a_record() {
    let test = TestWorker::start().await;
    let run = test.run("sales", "r1", 1, RunState::Success);
    let producer: BaseProducer =
        test.kafka().client().set("transactional.id", &test.kafka().kafka_prefix).create().unwrap();
    tokio::task::block_in_place(|| {
        producer.init_transactions(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        let (topic, key) = (test.kafka().topic(Topic::Runs), run.id.to_string());
        let payload = serde_json::to_vec(&run).unwrap();
        producer.send(BaseRecord::to(&topic).key(&key).payload(&payload)).unwrap();
        producer.commit_transaction(TIMEOUT).unwrap();
    });
    test.wait_for("select count(*) = 1 from runs").await;
    assert_eq!(test.published_records(), 2);
    let command = test.owner_settings().worker(&["rebuild"]).await;
    let output = timeout(TIMEOUT, testkit::stdout_of(command)).await.expect("the rebuild ends");
    assert!(output.contains("from 1 records"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_continues_after_a_restart_of_kafka() {
    let test = TestWorker::idle_with(&local::kafka_instance(KAFKA).await.unwrap()).await;
    test.worker.start_projecting();
    test.send(&[test.pipeline("sales", 1)]).await;
    test.send(&[test.run("sales", "r1", 1, RunState::Success)]).await;
    test.wait_for("select (select count(*) from runs) + (select count(*) from pipelines) = 2").await;
    // The rebuild cannot go on after the pipelines until Kafka is away.
    let mut lock = test.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table connectors in access exclusive mode").execute(&mut *lock).await.unwrap();
    let command = test.owner_settings().worker(&["rebuild"]).await;
    let rebuild = tokio::spawn(testkit::stdout_of(command));
    test.wait_for(
        "select count(*) > 0 from pg_locks where not granted and relation = 'connectors'::regclass",
    )
    .await;
    LocalService::named(KAFKA).kill().await.unwrap();
    lock.rollback().await.unwrap();
    // Longer than a request waits for a broker.
    tokio::time::sleep(Duration::from_secs(35)).await;
    local::kafka_instance(KAFKA).await.unwrap();
    let output = timeout(TIMEOUT, rebuild).await.expect("the rebuild ends").unwrap();
    assert!(output.contains("from 2 records"), "{output}");
    LocalService::named(KAFKA).kill().await.unwrap();
}
