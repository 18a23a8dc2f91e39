//! What operators do: rebuild the read model, look at dead letters and send them again.

use shared::events::RunObserved;
use shared::state::RunState;
use uuid::Uuid;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_in_the_foreground_that_cannot_be_made_ends_at_once_with_a_sentence() {
    let stage = Stage::empty().await;
    let unknown = Uuid::new_v4().to_string();
    let output = command(&stage).args(["sync", &unknown]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("there is no connector {unknown}")), "{said}");
}
