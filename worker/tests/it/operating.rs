//! What operators do: rebuild the read model, look at dead letters and send them again.

use std::time::Duration;

use contract::events::RunObserved;
use contract::state::RunState;
use uuid::Uuid;

use crate::light_airflow::LightAirflow;
use crate::stage::Stage;
use crate::worker_process::{Worker, command, run_as_owner, run_command};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_the_topics_under_a_running_worker_gives_the_same_read_model() {
    let stage = Stage::empty().await;
    sqlx::query("update connectors set is_active = false").execute(&stage.pool).await.unwrap();
    let _worker = Worker::start(&stage);
    stage.send(&[stage.pipeline("sales", 1)]).await;
    for version in [2, 3] {
        let runs: Vec<_> = (0..3_000)
            .map(|run| stage.run("sales", &format!("r{run}"), version, RunState::Success))
            .collect();
        stage.send(&runs).await;
    }
    stage.until("select count(*) = 3000 from runs where version = 3").await;
    let before = stage.read_model().await;
    let settings = "select string_agg(reloptions::text, ' ' order by relname) from pg_class where relname in ('runs', 'task_runs')";
    let settings_before: String = sqlx::query_scalar(settings).fetch_one(&stage.pool).await.unwrap();
    let indexes = "select count(*) from pg_indexes where tablename = 'runs' and indexname like 'runs_%'";
    let indexes_before = stage.number(indexes).await;
    let names =
        "select string_agg(indexname, ' ' order by indexname) from pg_indexes where tablename = 'runs'";
    let names_before: String = sqlx::query_scalar(names).fetch_one(&stage.pool).await.unwrap();
    // What no topic ever said does not survive.
    sqlx::query("update runs set status = 'failed' where external_id = 'r7'")
        .execute(&stage.pool)
        .await
        .unwrap();
    let rights = "select string_agg(relname || ' ' || relowner || ' ' || relacl::text, ' ' order by relname) from pg_class
        where relname in ('pipelines', 'runs', 'task_runs')";
    let rights_before: String = sqlx::query_scalar(rights).fetch_one(&stage.pool).await.unwrap();
    let refused = command(&stage).arg("rebuild").output().unwrap();
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("set DATABASE_URL to the owner's for this command"), "{refused}");
    let said = run_as_owner(&stage, &["rebuild"]);
    assert!(said.contains("6001 records"), "{said}");
    assert_eq!(sqlx::query_scalar::<_, String>(rights).fetch_one(&stage.pool).await.unwrap(), rights_before);
    assert_eq!(stage.read_model().await, before);
    assert_eq!(stage.number(indexes).await, indexes_before);
    assert_eq!(sqlx::query_scalar::<_, String>(names).fetch_one(&stage.pool).await.unwrap(), names_before);
    assert_eq!(
        sqlx::query_scalar::<_, String>(settings).fetch_one(&stage.pool).await.unwrap(),
        settings_before
    );
    // And the running worker goes on with the new tables.
    stage.send(&[stage.run("sales", "after", 4, RunState::Success)]).await;
    stage.until("select count(*) = 3001 from runs").await;
    assert_eq!(stage.number("select sum(n)::bigint from run_counts").await, 3_001);
    // Their metrics are kept as before.
    stage
        .until("select bool_and(counted_revision = revision and run_count = 3001) from pipeline_metrics")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_sent_again_when_the_reason_is_gone() {
    let stage = Stage::new().await;
    let late = Uuid::new_v4();
    let run = stage.run("sales", "r1", 1, RunState::Success);
    stage.send(&[RunObserved { connector_id: late.into(), ..run }]).await;
    stage.until("select count(*) = 1 from dead_letters").await;
    let listed = run_command(&stage, &["dead-letters", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["error"], format!("there is no connector {late}"));
    sqlx::query(
        "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
         select $1, space_id, 'late', connector_type, config, credentials_public from connectors",
    )
    .bind(late)
    .execute(&stage.pool)
    .await
    .unwrap();
    let said = run_command(&stage, &["dead-letters", "replay"]);
    assert!(said.starts_with("1 sent again"), "{said}");
    stage.until("select count(*) = 1 from runs").await;
    assert_eq!(run_command(&stage, &["dead-letters", "list"]), "");
    assert_eq!(run_command(&stage, &["dead-letters", "list", "--json"]), "[]\n");
    // It was sent again: there is nothing left to send.
    let id = listed[0]["id"].as_str().unwrap();
    let again = command(&stage).args(["dead-letters", "replay", id]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && said.contains(&format!("{id} is no dead letter that waits")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rebuilds_do_not_get_in_each_others_way() {
    let stage = Stage::empty().await;
    let mut first = stage.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(hashtext('rebuild'))").execute(&mut *first).await.unwrap();
    let second = command(&stage).arg("rebuild").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("another rebuild is under way"), "{said}");
}

/// What a command says that fails.
fn complaint(stage: &Stage, arguments: &[&str]) -> String {
    let output = command(stage).env("DATABASE_URL", stage.owner_url()).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_lack_what_was_read_of_them_make_no_read_model() {
    let stage = Stage::new().await;
    stage.send(&[stage.run("sales", "r1", 1, RunState::Success)]).await;
    stage.until("select count(*) = 1 from runs").await;
    stage.parts.runner.stop.cancel();
    let said = complaint(&stage, &["rebuild", "--kafka-prefix", "wrong."]);
    assert!(
        said.contains("there is no topic wrong.orchestration.pipelines.v1; check --kafka-prefix"),
        "{said}"
    );
    sqlx::query("update runs set log_offset = 5").execute(&stage.pool).await.unwrap();
    let said = complaint(&stage, &["rebuild"]);
    assert!(said.contains("rows were read at 5 of it"), "{said}");
    run_as_owner(&stage, &["rebuild", "--accept-loss"]);
    assert_eq!(stage.number("select log_offset from runs").await, 0);
    sqlx::query("update projection_offsets set topic = 'before.' || topic")
        .execute(&stage.pool)
        .await
        .unwrap();
    let said = complaint(&stage, &["rebuild"]);
    assert!(said.contains("nothing of these topics was ever projected"), "{said}");
    assert_eq!(stage.number("select count(*) from runs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_in_the_foreground_that_cannot_be_made_ends_at_once_with_a_sentence() {
    let stage = Stage::empty().await;
    let unknown = Uuid::new_v4().to_string();
    let said = complaint(&stage, &["sync", &unknown]);
    assert!(said.contains(&format!("there is no connector {unknown}")), "{said}");
    sqlx::query("update connectors set is_active = false").execute(&stage.pool).await.unwrap();
    let said = complaint(&stage, &["sync", &stage.connector.to_string()]);
    assert!(said.contains("is switched off; set is_active first"), "{said}");
    let said = complaint(&stage, &["dead-letters", "list", "--database-url", "postgres://127.0.0.1:1/none"]);
    assert!(said.contains("PostgreSQL does not answer; check DATABASE_URL"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_in_the_foreground_takes_as_long_as_it_needs_and_waits_for_others_as_long_as_it_is_told() {
    let stage = Stage::empty().await;
    let airflow = LightAirflow::slow(2, Duration::from_millis(600)).await;
    stage.point_to(&format!("{}/slow", airflow.url)).await;
    let sync = ["sync", &stage.connector.to_string(), "--wait-for-others", "1"];
    let said = run_command(&stage, &sync);
    assert!(said.contains(r#""runs_seen":2"#), "{said}");
    stage.lease(false).await;
    let said = complaint(&stage, &sync);
    assert!(said.contains("another worker has kept this connector for 1 s"), "{said}");
}
