//! Events become rows: the newest version wins in any order, no event is applied twice, and malformed records
//! become dead letters.

use contract::events::{PipelineObserved, Record, RunObserved, TaskRunObserved, Topic};
use contract::state::{RunState, TaskState};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_equal_to_its_event() {
    let test = TestWorker::start().await;
    let pipeline = test.pipeline("sales", 7);
    let run = test.run("sales", "r1", 8, RunState::Success);
    test.send(std::slice::from_ref(&pipeline)).await;
    test.send(std::slice::from_ref(&run)).await;
    test.wait_for("select (select count(*) from runs) + (select count(*) from pipelines) = 2").await;
    let pipelines: Vec<PipelineObserved> =
        worker::store::entities::find(&test.worker.runner.pool, &[pipeline.id.0]).await.unwrap();
    assert_eq!(pipelines, [pipeline]);
    let runs: Vec<RunObserved> =
        worker::store::entities::find(&test.worker.runner.pool, &[run.id.0]).await.unwrap();
    assert_eq!(runs, [run]);
    // Lists have a budget of bytes.
    assert_eq!(test.number("select conf_bytes from runs").await, r#"{"k":"v"}"#.len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_at_which_a_pipeline_was_resumed_is_kept() {
    let test = TestWorker::start().await;
    for (version, is_paused) in [(1, false), (2, true), (3, false), (4, false)] {
        test.send(&[PipelineObserved { is_paused, ..test.pipeline("sales", version) }]).await;
        test.wait_for(&format!("select max(version) = {version} from pipelines")).await;
        let resumed = test.number("select count(*) from pipeline_resumptions").await;
        assert_eq!(resumed, i64::from(version >= 3));
    }
    let third = "select count(*) from pipeline_resumptions where extract(epoch from resumed_at) = 3";
    assert_eq!(test.number(third).await, 1, "when its third event was observed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_version_wins_in_any_order() {
    let test = TestWorker::start().await;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(8));
    let orders = prop::collection::vec(1_i64..20, 1..30);
    for case in 0..8 {
        let versions = orders.new_tree(&mut runner).unwrap().current();
        let run = format!("r{case}");
        let events: Vec<_> =
            versions.iter().map(|version| test.run("sales", &run, *version, RunState::Running)).collect();
        test.send(&events).await;
        let latest = test.run("sales", &format!("last{case}"), 1, RunState::Success);
        test.send(&[test.run("sales", &run, 20, RunState::Success), latest]).await;
    }
    test.wait_for("select count(*) = 8 from runs where external_id like 'last%'").await;
    test.wait_for("select count(*) = 8 from runs where version = 20 and status = 'success'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_every_topic_gives_the_same_rows() {
    let test = TestWorker::idle().await;
    test.send(&[test.pipeline("sales", 1), test.pipeline("stock", 2)]).await;
    for version in [3, 5, 4] {
        let runs: Vec<_> =
            (0..50).map(|run| test.run("sales", &format!("r{run}"), version, RunState::Running)).collect();
        test.send(&runs).await;
    }
    let projecting = test.start_another();
    test.wait_for("select (select count(*) from runs) = 50 and (select count(*) from pipelines) = 2").await;
    test.wait_for("select min(version) = 5 from runs").await;
    projecting.stop().await;
    let before = test.read_model().await;

    test.execute("update projection_offsets set next_offset = 0").await;
    let replaying = test.start_another();
    test.wait_for("select sum(next_offset) >= 152 from projection_offsets").await;
    replaying.stop().await;
    assert_eq!(test.read_model().await, before);

    test.execute("truncate pipelines, runs, task_runs, projection_offsets").await;
    let rebuilding = test.start_another();
    test.wait_for("select coalesce(sum(next_offset), 0) >= 152 from projection_offsets").await;
    rebuilding.stop().await;
    assert_eq!(test.read_model().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_event_is_published_again_after_an_older_record() {
    let test = TestWorker::start().await;
    test.send(&[test.run("sales", "r1", 9, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;
    test.send(&[test.run("sales", "r1", 4, RunState::Running)]).await;
    test.wait_for("select sum(next_offset) = 3 from projection_offsets").await;
    assert_eq!(test.published_records(), 3, "the newer event was published again");
    assert_eq!(test.number("select version from runs").await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_published_again_has_its_external_ids_without_their_rows() {
    let test = TestWorker::start().await;
    let task_run =
        |version, state| TaskRunObserved { version, ..test.task_run("sales", "r1", "load", -1, state) };
    test.send(&[task_run(9, TaskState::Success)]).await;
    test.wait_for("select count(*) = 1 from task_runs").await;
    test.send(&[task_run(4, TaskState::Running)]).await;
    test.wait_for("select sum(next_offset) = 3 from projection_offsets").await;
    let latest =
        test.events(Topic::TaskRuns, &task_run(9, TaskState::Success).id.to_string()).pop().unwrap().1;
    assert_eq!(
        (&latest["version"], &latest["pipeline_external_id"], &latest["run_external_id"]),
        (&9.into(), &"sales".into(), &"r1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_a_name_too_long_for_its_index_becomes_a_dead_letter() {
    let test = TestWorker::start().await;
    let mut rng = StdRng::seed_from_u64(1);
    let name = (0..4_000).map(|_| char::from(rng.sample(Alphanumeric))).collect();
    test.send(&[PipelineObserved { name, ..test.pipeline("long", 1) }, test.pipeline("sales", 1)]).await;
    test.wait_for("select count(*) = 1 from dead_letters").await;
    test.wait_for("select count(*) = 1 from pipelines").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_records_become_dead_letters_and_later_records_are_applied() {
    let test = TestWorker::start().await;
    let valid = test.run("sales", "r1", 1, RunState::Success);
    let mut malformed = Record::of(&valid).unwrap();
    malformed.payload = b"{\"id\": 12".to_vec();
    // Text that PostgreSQL cannot store fails only when it is written.
    let mut poison = Record::of(&test.run("sales", "r2", 1, RunState::Success)).unwrap();
    poison.payload =
        String::from_utf8(poison.payload).unwrap().replace("\"r2\"", "\"r\\u0000\"").into_bytes();
    let of_unknown_connector =
        Record::of(&RunObserved { connector_id: uuid::Uuid::nil().into(), ..valid.clone() }).unwrap();
    let records = [malformed, poison, of_unknown_connector, Record::of(&valid).unwrap()];
    assert!(records.iter().all(|record| record.topic == Topic::Runs));
    test.producer().send(&records).await.unwrap();
    test.wait_for("select count(*) = 3 from dead_letters").await;
    test.wait_for("select count(*) = 1 from runs where external_id = 'r1'").await;
    // A rebuild skips the same records.
    test.run_command_as_owner(&["rebuild"]).await;
    assert_eq!(test.number("select count(*) from runs where external_id = 'r1'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_applied_superseded_or_a_dead_letter() {
    let test = TestWorker::idle().await;
    test.worker.start_projecting();
    let mut records = Vec::new();
    for run in 0..20 {
        let name = format!("r{run}");
        let newer = Record::of(&test.run("sales", &name, 9, RunState::Success)).unwrap();
        let older = Record::of(&test.run("sales", &name, 4, RunState::Running)).unwrap();
        let mut malformed = newer.clone();
        malformed.payload.truncate(10);
        records.extend([newer, malformed, older]);
    }
    test.producer().send(&records).await.unwrap();
    test.wait_for("select sum(next_offset) = 60 from projection_offsets").await;
    // No record was read twice either, or the offsets would differ from the ends of the partitions.
    let (applied, dead_letters): (Vec<i64>, Vec<i64>) = (
        sqlx::query_scalar("select count(*) from runs where version = 9 and status = 'success'")
            .fetch_all(&test.pool)
            .await
            .unwrap(),
        sqlx::query_scalar("select count(*) from dead_letters group by topic order by topic")
            .fetch_all(&test.pool)
            .await
            .unwrap(),
    );
    assert_eq!((applied, dead_letters), (vec![20], vec![20]));
    let dead_letters_below_offsets = "select count(*) from dead_letters d join projection_offsets o
        on o.topic = d.topic and o.partition = d.partition and d.\"offset\" < o.next_offset";
    assert_eq!(test.number(dead_letters_below_offsets).await, 20);
    assert_eq!(
        test.number("select count(*) from outbox").await,
        20,
        "newer events are published again after superseded records"
    );
}
