//! What operators do: rebuild the read model, look at dead letters and send them again.

use std::time::Duration;

use contract::events::RunObserved;
use contract::state::RunState;
use testkit::{FakeAirflow, WorkerProcess};
use uuid::Uuid;

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_the_topics_under_a_running_worker_gives_the_same_read_model() {
    let test = TestWorker::idle().await;
    test.execute("update connectors set is_active = false").await;
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.send(&[test.pipeline("sales", 1)]).await;
    for version in [2, 3] {
        let runs: Vec<_> =
            (0..3_000).map(|run| test.run("sales", &format!("r{run}"), version, RunState::Success)).collect();
        test.send(&runs).await;
    }
    test.wait_for("select count(*) = 3000 from runs where version = 3").await;
    let before = test.read_model().await;
    let settings = "select string_agg(reloptions::text, ' ' order by relname) from pg_class where relname in ('runs', 'task_runs')";
    let settings_before: String = sqlx::query_scalar(settings).fetch_one(&test.pool).await.unwrap();
    let indexes = "select count(*) from pg_indexes where tablename = 'runs' and indexname like 'runs_%'";
    let indexes_before = test.number(indexes).await;
    let names =
        "select string_agg(indexname, ' ' order by indexname) from pg_indexes where tablename = 'runs'";
    let names_before: String = sqlx::query_scalar(names).fetch_one(&test.pool).await.unwrap();
    // What no topic ever said does not survive.
    test.execute("update runs set status = 'failed' where external_id = 'r7'").await;
    let rights = "select string_agg(relname || ' ' || relowner || ' ' || relacl::text, ' ' order by relname) from pg_class
        where relname in ('pipelines', 'runs', 'task_runs')";
    let rights_before: String = sqlx::query_scalar(rights).fetch_one(&test.pool).await.unwrap();
    let refused = test.run_failing_command(&["rebuild"]).await;
    assert!(refused.contains("set DATABASE_URL to the owner's for this command"), "{refused}");
    let said = test.run_command_as_owner(&["rebuild"]).await;
    assert!(said.contains("6001 records"), "{said}");
    assert_eq!(sqlx::query_scalar::<_, String>(rights).fetch_one(&test.pool).await.unwrap(), rights_before);
    assert_eq!(test.read_model().await, before);
    assert_eq!(test.number(indexes).await, indexes_before);
    assert_eq!(sqlx::query_scalar::<_, String>(names).fetch_one(&test.pool).await.unwrap(), names_before);
    assert_eq!(
        sqlx::query_scalar::<_, String>(settings).fetch_one(&test.pool).await.unwrap(),
        settings_before
    );
    // And the running worker goes on with the new tables.
    test.send(&[test.run("sales", "after", 4, RunState::Success)]).await;
    test.wait_for("select count(*) = 3001 from runs").await;
    assert_eq!(test.number("select sum(n)::bigint from run_counts").await, 3_001);
    // Their metrics are kept as before.
    test.wait_for("select bool_and(counted_revision = revision and run_count = 3001) from pipeline_metrics")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_sent_again_when_the_reason_is_gone() {
    let test = TestWorker::start().await;
    let late = Uuid::new_v4();
    let run = test.run("sales", "r1", 1, RunState::Success);
    test.send(&[RunObserved { connector_id: late.into(), ..run }]).await;
    test.wait_for("select count(*) = 1 from dead_letters").await;
    let listed = test.run_command(&["dead-letters", "list", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["error"], format!("there is no connector {late}"));
    sqlx::query(
        "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
         select $1, space_id, 'late', connector_type, config, credentials_public from connectors",
    )
    .bind(late)
    .execute(&test.pool)
    .await
    .unwrap();
    let said = test.run_command(&["dead-letters", "replay"]).await;
    assert!(said.starts_with("1 sent again"), "{said}");
    test.wait_for("select count(*) = 1 from runs").await;
    assert_eq!(test.run_command(&["dead-letters", "list"]).await, "");
    assert_eq!(test.run_command(&["dead-letters", "list", "--json"]).await, "[]\n");
    // It was sent again: there is nothing left to send.
    let id = listed[0]["id"].as_str().unwrap();
    let error = test.run_failing_command(&["dead-letters", "replay", id]).await;
    assert!(error.contains(&format!("{id} is no dead letter that waits")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rebuilds_do_not_get_in_each_others_way() {
    let test = TestWorker::idle().await;
    let mut first = test.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(hashtext('rebuild'))").execute(&mut *first).await.unwrap();
    let error = test.run_failing_command(&["rebuild"]).await;
    assert!(error.contains("another rebuild is under way"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_lack_what_was_read_of_them_make_no_read_model() {
    let test = TestWorker::start().await;
    test.send(&[test.run("sales", "r1", 1, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;
    test.parts.runner.stop.cancel();
    let said = test.run_failing_command_as_owner(&["rebuild", "--kafka-prefix", "wrong."]).await;
    assert!(
        said.contains("there is no topic wrong.orchestration.pipelines.v1; check --kafka-prefix"),
        "{said}"
    );
    test.execute("update runs set log_offset = 5").await;
    let said = test.run_failing_command_as_owner(&["rebuild"]).await;
    assert!(said.contains("rows were read at 5 of it"), "{said}");
    test.run_command_as_owner(&["rebuild", "--accept-loss"]).await;
    assert_eq!(test.number("select log_offset from runs").await, 0);
    test.execute("update projection_offsets set topic = 'before.' || topic").await;
    let said = test.run_failing_command_as_owner(&["rebuild"]).await;
    assert!(said.contains("nothing of these topics was ever projected"), "{said}");
    assert_eq!(test.number("select count(*) from runs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_in_the_foreground_that_cannot_be_made_ends_at_once_with_a_sentence() {
    let test = TestWorker::idle().await;
    let unknown = Uuid::new_v4().to_string();
    let said = test.run_failing_command_as_owner(&["sync", &unknown]).await;
    assert!(said.contains(&format!("there is no connector {unknown}")), "{said}");
    test.execute("update connectors set is_active = false").await;
    let said = test.run_failing_command_as_owner(&["sync", &test.connector.to_string()]).await;
    assert!(said.contains("is switched off; set is_active first"), "{said}");
    let said = test
        .run_failing_command_as_owner(&[
            "dead-letters",
            "list",
            "--database-url",
            "postgres://127.0.0.1:1/none",
        ])
        .await;
    assert!(said.contains("PostgreSQL does not answer; check DATABASE_URL"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_in_the_foreground_takes_as_long_as_it_needs_and_waits_for_others_as_long_as_it_is_told() {
    let test = TestWorker::idle().await;
    let airflow = FakeAirflow::start_slow(2, Duration::from_millis(600)).await;
    test.set_base_url(&format!("{}/slow", airflow.url)).await;
    let sync = ["sync", &test.connector.to_string(), "--wait-for-others", "1"];
    let said = test.run_command(&sync).await;
    assert!(said.contains(r#""runs_seen":2"#), "{said}");
    test.enqueue_and_claim(false).await;
    let said = test.run_failing_command_as_owner(&sync).await;
    assert!(said.contains("another worker has kept this connector for 1 s"), "{said}");
}
