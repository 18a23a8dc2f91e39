//! The worker's commands for operators: rebuild, dead letters and sync.

use std::time::Duration;

use contract::events::RunObserved;
use contract::ids::{PipelineId, RunId};
use contract::state::RunState;
use testkit::{FakeAirflow, WorkerProcess};
use uuid::Uuid;

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_a_running_worker_gives_the_same_read_model() {
    let test = TestWorker::idle().await;
    test.execute("update connectors set is_active = false").await;
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.send(&[test.pipeline("sales", 1)]).await;
    for version in [2, 3] {
        let runs: Vec<_> =
            (0..3_000).map(|run| test.run("sales", &format!("r{run}"), version, RunState::Success)).collect();
        test.send(&runs).await;
    }
    test.wait_until_projected().await;
    assert_eq!(test.number("select count(*) from runs where version = 3").await, 3_000);
    let rows_before = test.read_model().await;
    let tables_before = table_definitions(&test).await;
    // A change that is in no topic does not survive.
    test.execute("update runs set status = 'failed' where external_id = 'r7'").await;
    let error = test.run_failing_command(&["rebuild"]).await;
    assert!(error.contains("set DATABASE_URL to the owner's for this command"), "{error}");
    let output = test.run_command_as_owner(&["rebuild"]).await;
    assert!(output.contains("6001 records"), "{output}");
    assert_eq!(test.read_model().await, rows_before);
    assert_eq!(table_definitions(&test).await, tables_before);
    let analyzed = "select count(n_distinct) from pg_stats_ext_exprs where tablename = 'runs'";
    assert_eq!(test.number(analyzed).await, 2);
    // The running worker continues with the new tables.
    test.send(&[test.run("sales", "after", 4, RunState::Success)]).await;
    test.wait_for("select count(*) = 3001 from runs").await;
    let counted =
        "select sum(n)::bigint from (select n from run_counts union all select n from run_changes) c";
    assert_eq!(test.number(counted).await, 3_001);
    test.wait_for("select sum(n) = 3001 from run_days").await;
    test.wait_for("select sum(success_count) = 3001 from run_windows where days = 365").await;
    // The worker refreshes the metrics of the new tables.
    test.wait_for("select bool_and(counted_revision = revision and run_count = 3001) from pipeline_metrics")
        .await;
}

/// Owner, privileges, storage options, indexes, statistics and triggers of the read model's tables.
async fn table_definitions(test: &TestWorker) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', relname, relowner, relacl::text, reloptions::text,
             (select string_agg(indexname, ' ' order by indexname) from pg_indexes where tablename = relname),
             (select string_agg(stxnamespace::regnamespace || '.' || stxname, ' ' order by stxname)
              from pg_statistic_ext where stxrelid = pg_class.oid),
             (select string_agg(pg_get_triggerdef(oid), ' ' order by tgname) from pg_trigger
              where tgrelid = pg_class.oid and not tgisinternal))
         from pg_class where relkind = 'r' and (relname in ('pipelines', 'task_runs', 'pipeline_metrics')
             or relname like 'run%') order by relname",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_replayed() {
    let test = TestWorker::start().await;
    let late_connector = Uuid::new_v4();
    let connector_id = late_connector.into();
    let run = RunObserved {
        id: RunId::of(connector_id, "sales", "r1"),
        pipeline_id: PipelineId::of(connector_id, "sales"),
        connector_id,
        ..test.run("sales", "r1", 1, RunState::Success)
    };
    test.send(&[run]).await;
    test.wait_for("select count(*) = 1 from dead_letters").await;
    let listed = test.run_command(&["dead-letters", "list", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["error"], format!("there is no connector {late_connector}"));
    sqlx::query(
        "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
         select $1, space_id, 'late', connector_type, config, credentials_public from connectors",
    )
    .bind(late_connector)
    .execute(&test.pool)
    .await
    .unwrap();
    let output = test.run_command(&["dead-letters", "replay"]).await;
    assert!(output.starts_with("1 sent again"), "{output}");
    test.wait_for("select count(*) = 1 from runs").await;
    assert_eq!(test.run_command(&["dead-letters", "list"]).await, "");
    assert_eq!(test.run_command(&["dead-letters", "list", "--json"]).await, "[]\n");
    // A replayed dead letter cannot be replayed again.
    let id = listed[0]["id"].as_str().unwrap();
    let error = test.run_failing_command(&["dead-letters", "replay", id]).await;
    assert!(error.contains(&format!("{id} is no dead letter that waits")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_rebuild_runs_at_a_time() {
    let test = TestWorker::idle().await;
    let mut first = test.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(hashtext('rebuild'))").execute(&mut *first).await.unwrap();
    let error = test.run_failing_command(&["rebuild"]).await;
    assert!(error.contains("another rebuild is under way"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_rejects_topics_that_lack_projected_records() {
    let test = TestWorker::start().await;
    test.send(&[test.run("sales", "r1", 1, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;
    test.worker.runner.stop.cancel();
    let output = test.run_failing_command_as_owner(&["rebuild", "--kafka-prefix", "wrong."]).await;
    assert!(
        output.contains("there is no topic wrong.orchestration.pipelines.v1; check --kafka-prefix"),
        "{output}"
    );
    test.execute("update runs set log_offset = 5").await;
    let output = test.run_failing_command_as_owner(&["rebuild"]).await;
    assert!(output.contains("rows were read at 5 of it"), "{output}");
    test.run_command_as_owner(&["rebuild", "--accept-loss"]).await;
    assert_eq!(test.number("select log_offset from runs").await, 0);
    test.execute("update projection_offsets set topic = 'before.' || topic").await;
    let output = test.run_failing_command_as_owner(&["rebuild"]).await;
    assert!(output.contains("nothing of these topics was ever projected"), "{output}");
    assert_eq!(test.number("select count(*) from runs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_foreground_sync_fails_with_an_error_message() {
    let test = TestWorker::idle().await;
    let unknown = Uuid::new_v4().to_string();
    let output = test.run_failing_command_as_owner(&["sync", &unknown]).await;
    assert!(output.contains(&format!("there is no connector {unknown}")), "{output}");
    test.execute("update connectors set is_active = false").await;
    let output = test.run_failing_command_as_owner(&["sync", &test.connector.to_string()]).await;
    assert!(output.contains("is switched off; set is_active first"), "{output}");
    let output = test
        .run_failing_command_as_owner(&[
            "dead-letters",
            "list",
            "--database-url",
            "postgres://127.0.0.1:1/none",
        ])
        .await;
    assert!(output.contains("PostgreSQL does not answer; check DATABASE_URL"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreground_sync_waits_for_the_lease_until_its_timeout() {
    let test = TestWorker::idle().await;
    let airflow = FakeAirflow::start_slow(2, Duration::from_millis(600)).await;
    test.set_base_url(&format!("{}/slow", airflow.url)).await;
    let sync = ["sync", &test.connector.to_string(), "--wait-for-others", "1"];
    let output = test.run_command(&sync).await;
    assert!(output.contains(r#""runs_seen":2"#), "{output}");
    test.enqueue_and_claim(false).await;
    let output = test.run_failing_command_as_owner(&sync).await;
    assert!(output.contains("another worker has kept this connector for 1 s"), "{output}");
}
