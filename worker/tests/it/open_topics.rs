//! Records that are on a topic though no client of ours sent them: each is applied or becomes a dead letter,
//! and the next one is applied.

use std::time::Duration;

use contract::events::{Event, PipelineObserved, Record, RunObserved, SyncRequested, TaskRunObserved, Topic};
use contract::ids::SyncId;
use contract::state::{RunState, TaskState};
use testkit::WorkerProcess;
use uuid::Uuid;

use crate::kafka_blackhole::{free_address, get};
use crate::raw_records::{self, RawRecord};
use crate::test_worker::TestWorker;

/// As many bytes as the topics accept in a record, less those of its frame.
const MAX_PAYLOAD_BYTES: usize = 8_388_000;

fn request(test: &TestWorker) -> SyncRequested {
    SyncRequested {
        id: SyncId(Uuid::now_v7()),
        connector_id: test.connector,
        full: false,
        accept_mass_deletion: false,
        space: String::new(),
        observed_at: chrono::Utc::now(),
    }
}

fn record<E: Event>(event: &E, headers: &[(&[u8], &[u8])]) -> RawRecord {
    let Record { key, payload, .. } = Record::of(event).unwrap();
    let headers = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    RawRecord { key: key.into(), headers, payload }
}

/// Records around two valid ones: names and values of headers that are no text, and nonsense.
fn hostile_records<E: Event>(first: &E, last: &E) -> [RawRecord; 5] {
    let nonsense = RawRecord { payload: vec![0xff; MAX_PAYLOAD_BYTES], ..RawRecord::default() };
    let malformed = |headers| RawRecord { payload: b"{\"id\": 12".to_vec(), ..record(first, headers) };
    [
        record(first, &[(b"ce_id", b"1"), (b"caf\xe9", b"name")]),
        malformed(&[(b"dd-pathway-ctx", b"a\0b"), (b"bytes", b"\xfe\xff")]),
        nonsense,
        malformed(&[(b"\xff", b"name"), (b"traceparent", b"\0")]),
        record(last, &[(b"value", b"\0\0"), (b"", b""), (b"\xc3\x28", b"name")]),
    ]
}

/// Whether both dead letters of malformed records hold what they were, and the third what fits.
async fn assert_dead_letters(test: &TestWorker) {
    test.wait_for("select count(*) = 3 from dead_letters").await;
    let whole = "select count(*) from dead_letters where payload = '{\"id\": 12' and payload_bytes is null";
    assert_eq!(test.number(whole).await, 2);
    let escaped = r#"select count(*) from dead_letters
        where headers = '{"dd-pathway-ctx": "a\\x00b", "bytes": "\\xfe\\xff"}'"#;
    assert_eq!(test.number(escaped).await, 1);
    let cut = "select count(*) from dead_letters where octet_length(payload) = 65536
        and payload_bytes = 8388000 and payload_sha256 = sha256(decode(repeat('ff', 8388000), 'hex'))";
    assert_eq!(test.number(cut).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_headers_of_any_bytes_are_accepted_or_dead_letters() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let records = hostile_records(&request(&test), &request(&test));
    raw_records::send(test.kafka(), Topic::SyncRequests, &records).await;
    test.wait_for("select count(*) = 2 from syncs where accepted_at is not null").await;
    assert_dead_letters(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_with_headers_of_any_bytes_are_applied_or_dead_letters() {
    let test = TestWorker::start().await;
    let [first, last] = ["r1", "r2"].map(|name| test.run("sales", name, 1, RunState::Success));
    raw_records::send(test.kafka(), Topic::Runs, &hostile_records(&first, &last)).await;
    test.wait_for("select count(*) = 2 from runs").await;
    assert_dead_letters(&test).await;
    // Those that are whole are sent again; they are still malformed.
    let output = test.run_command(&["dead-letters", "replay"]).await;
    assert!(output.contains("2 sent again") && output.contains("1 not sent"), "{output}");
    test.wait_for("select count(*) = 5 from dead_letters").await;
    let cut = "select id from dead_letters where payload_bytes is not null";
    let cut: Uuid = sqlx::query_scalar(cut).fetch_one(&test.pool).await.unwrap();
    let error = test.run_failing_command(&["dead-letters", "replay", &cut.to_string()]).await;
    assert!(error.contains(&format!("{cut} was stored without all of its payload")), "{error}");
    for arguments in [
        &["dead-letters", "discard", &cut.to_string()][..],
        &["dead-letters", "discard", &cut.to_string(), "--reason", " "],
    ] {
        let error = test.run_failing_command(arguments).await;
        assert!(error.contains("--reason"), "{error}");
    }
    let reason = "sent by a stranger";
    test.run_command(&["dead-letters", "discard", &cut.to_string(), "--reason", reason]).await;
    let discarded = "select id from dead_letters where discard_reason = 'sent by a stranger'";
    assert_eq!(sqlx::query_scalar::<_, Uuid>(discarded).fetch_one(&test.pool).await.unwrap(), cut);
    assert_eq!(test.number("select count(*) from dead_letters where replayed_at is null").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_stored_without_what_postgresql_refuses() {
    let test = TestWorker::idle().await;
    test.execute("alter table dead_letters add constraint no_headers check (headers = '{}')").await;
    test.worker.start_requests();
    let malformed = Record { payload: b"nonsense".to_vec(), ..Record::of(&request(&test)).unwrap() };
    let valid = Record::of(&request(&test)).unwrap();
    test.producer().send(&[malformed, valid]).await.unwrap();
    test.wait_for("select count(*) = 1 from syncs where accepted_at is not null").await;
    test.wait_for("select count(*) = 1 from dead_letters where payload = 'nonsense'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_bounded_in_bytes_and_in_number_and_those_left_out_are_counted() {
    let test = TestWorker::idle().await;
    // As many bytes as may be stored, in few rows.
    test.execute(
        "insert into dead_letters (id, topic, partition, \"offset\", headers, payload, error)
         select gen_random_uuid(), 'full', 0, n, '{}', decode(repeat('00', 1 << 20), 'hex'), 'test'
         from generate_series(1, 256) n",
    )
    .await;
    let address = free_address();
    let arguments = ["run", "--metrics-listen", &address];
    let _worker = WorkerProcess::spawn(&mut test.settings.worker(&arguments).await);
    let malformed = Record { payload: vec![b'x'; 10_000], ..Record::of(&request(&test)).unwrap() };
    test.producer().send(std::slice::from_ref(&malformed)).await.unwrap();
    let cut = "select count(*) = 1 from dead_letters
        where octet_length(payload) = 1024 and payload_bytes = 10000";
    test.wait_for(cut).await;
    test.execute(
        "insert into dead_letters (id, topic, partition, \"offset\", headers, error)
         select gen_random_uuid(), 'full', 1, n, '{}', 'test' from generate_series(1, 50000) n",
    )
    .await;
    let valid = Record::of(&request(&test)).unwrap();
    test.producer().send(&[malformed, valid]).await.unwrap();
    test.wait_for("select count(*) = 1 from syncs where accepted_at is not null").await;
    assert_eq!(test.number("select count(*) from dead_letters where topic <> 'full'").await, 1);
    let counted = "orchestration_dead_letters_left_out_total{group=\"requests\"} 1";
    let url = format!("http://{address}/metrics");
    let is_counted = async || get(&url).await.is_some_and(|(_, metrics)| metrics.contains(counted));
    testkit::eventually("what is left out is counted", Duration::from_secs(60), is_counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_no_worker_has_published_become_dead_letters() {
    let test = TestWorker::start().await;
    let run = test.run("sales", "r1", 7, RunState::Running);
    let task_run = test.task_run("sales", "r1", "load", -1, TaskState::Success);
    let pipeline = test.pipeline("sales", 7);
    let other = Uuid::new_v4();
    test.send(&[
        RunObserved { version: i64::MAX, ..run.clone() },
        RunObserved { id: other.into(), ..run.clone() },
        RunObserved { pipeline_id: other.into(), ..run.clone() },
    ])
    .await;
    test.send(&[
        TaskRunObserved { id: other.into(), ..task_run.clone() },
        TaskRunObserved { run_id: other.into(), ..task_run.clone() },
        TaskRunObserved { pipeline_id: other.into(), ..task_run.clone() },
        TaskRunObserved { version: i64::MAX, ..task_run.clone() },
    ])
    .await;
    test.send(&[
        PipelineObserved { id: other.into(), ..pipeline.clone() },
        PipelineObserved { version: i64::MAX, ..pipeline.clone() },
    ])
    .await;
    test.wait_for("select count(*) = 9 from dead_letters").await;
    let reasons = "select count(*) from dead_letters where error like 'the ids do not follow%'
        or error like 'no worker has drawn the version 9223372036854775807; the last one is 1%'";
    assert_eq!(test.number(reasons).await, 9);
    test.send(&[pipeline]).await;
    test.send(&[run]).await;
    test.send(&[task_run]).await;
    test.wait_for("select (select count(*) from runs) + (select count(*) from pipelines) = 2").await;
    test.wait_for("select count(*) = 1 from task_runs").await;
    // A rebuild refuses them, too.
    test.run_command_as_owner(&["rebuild"]).await;
    assert_eq!(test.number("select max(version) from runs").await, 7);
}
