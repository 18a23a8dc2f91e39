//! Which reads wait for a permit: lists and large rows do, single rows of the usual size never.

use std::time::Duration;

use contract::ids::{KeyId, PipelineId, RunId};
use serde_json::json;
use uuid::Uuid;

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::{ADMIN, hours_ago, insert_channel};

/// How long a read that has no permit is observed.
const OBSERVED: Duration = Duration::from_millis(500);

/// The number of task runs of a large run.
const TASKS: usize = 501;

/// An API that runs one expensive read at a time.
async fn start() -> TestApi {
    TestApi::with(ApiSetup { connections: Some(2), ..ApiSetup::default() }).await
}

async fn get(test: &TestApi, path: &str) -> TestResponse {
    let path = match path.strip_prefix("/api") {
        Some(path) => path.to_owned(),
        None => format!("/spaces/{SPACE}/orchestration{path}"),
    };
    test.send(axum::http::Method::GET, ADMIN, &path, None).await
}

/// Inserts so many task runs of a mapped task.
pub(crate) async fn insert_mapped(test: &TestApi, run: RunId, tasks: usize) {
    test.sql(&format!(
        "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
             version, fingerprint, log_offset, observed_at, task_id, map_index, name, status, try_number,
             max_tries)
         select md5(id::text || n)::uuid, space_id, connector_id, pipeline_id, id, 'airflow', n, 1, '', 0,
             now(), 'mapped', n, 'mapped', 'success', 1, 1
         from runs, generate_series(1, {tasks}) n where id = '{run}'"
    ))
    .await;
}

async fn insert_runs(test: &TestApi, pipeline: PipelineId) {
    test.sql(&format!(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, conf)
         select gen_random_uuid(), space_id, connector_id, id, 'airflow', 'run ' || n, 1, '', 0, now(),
             'success', 'manual', now(), '{{}}'
         from pipelines, generate_series(1, 1001) n where id = '{pipeline}'"
    ))
    .await;
}

/// Inserts rows, and returns the paths of reads that need no permit.
async fn insert_small_rows(test: &TestApi) -> Vec<String> {
    let small = test.pipeline("small").await;
    let run = test.run(small, "r", "success", hours_ago(1)).await;
    let task = test.task_run(run, "t", -1, "success").await;
    let incident = test.incident(small, "failing").await;
    vec![
        format!("/pipelines/{small}"),
        format!("/pipelines/{small}?days=365"),
        format!("/runs/{run}"),
        format!("/runs/{run}?include_deleted=true"),
        format!("/task-runs/{task}"),
        format!("/incidents/{incident}"),
    ]
}

/// Inserts rows, and returns the paths of reads that need a permit.
async fn insert_large_rows(test: &TestApi) -> Vec<String> {
    let listed = test.pipeline("listed").await;
    let run = test.run(listed, "r", "success", hours_ago(1)).await;
    let task = test.task_run(run, "t", -1, "success").await;
    let incident = test.incident(listed, "failing").await;
    let channel = insert_channel(test, SPACE).await;
    let busy = test.pipeline("busy").await;
    insert_runs(test, busy).await;
    let described = test.pipeline("described").await;
    let noise = "(select jsonb_agg(random()) from generate_series(1, 10000))";
    test.sql(&format!(
        "update pipelines set provider_metadata = jsonb_build_object('noise', {noise})
         where id = '{described}'"
    ))
    .await;
    let mapped = test.run(listed, "mapped", "success", hours_ago(2)).await;
    insert_mapped(test, mapped, TASKS).await;
    let large = test.run(listed, "large", "success", hours_ago(3)).await;
    test.sql(&format!(
        "update runs set conf = jsonb_build_object('x', repeat('x', 500000)) where id = '{large}'"
    ))
    .await;
    vec![
        format!("/pipelines/{busy}"),
        format!("/pipelines/{busy}?days=90"),
        format!("/pipelines/{described}"),
        format!("/pipelines/{listed}/grid"),
        format!("/runs/{mapped}"),
        format!("/runs/{large}"),
        format!("/runs/{run}/comments"),
        format!("/task-runs/{task}/comments"),
        format!("/incidents/{incident}/comments"),
        format!("/notifications/channels/{channel}/deliveries"),
        "/api/me/notifications".to_owned(),
        format!("/api/spaces/{SPACE}/people"),
    ]
}

#[tokio::test]
async fn single_rows_wait_for_no_permit_and_lists_and_large_rows_do() {
    let test = start().await;
    let (small_rows, others) = (insert_small_rows(&test).await, insert_large_rows(&test).await);
    let held = test.app.reads.acquire(KeyId(Uuid::nil())).await.unwrap();
    for path in small_rows {
        let read = tokio::time::timeout(Duration::from_secs(60), get(&test, &path)).await;
        read.expect(&path).expect(200);
    }
    for path in &others {
        let read = tokio::time::timeout(OBSERVED, get(&test, path)).await;
        assert!(read.is_err(), "{path} waits for no permit");
    }
    drop(held);
    for path in &others {
        get(&test, path).await.expect(200);
    }
}

#[tokio::test]
async fn large_runs_are_read_whole() {
    let test = start().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    insert_mapped(&test, run, TASKS).await;
    let whole = get(&test, &format!("/runs/{run}")).await.expect(200);
    assert_eq!(whole["tasks"].as_array().map(Vec::len), Some(TASKS));
    assert_eq!(whole["task_counts"]["success"], TASKS);
    for (size, has_been_measured) in [(500_000, false), (500_000, true), (20_000, false)] {
        let bytes = if has_been_measured { (size + 8).to_string() } else { "null".to_owned() };
        test.sql(&format!(
            "update runs set conf = jsonb_build_object('x', repeat('x', {size})), conf_bytes = {bytes}"
        ))
        .await;
        let whole = get(&test, &format!("/runs/{run}")).await.expect(200);
        assert_eq!(whole["conf"]["x"].as_str().map(str::len), Some(size));
        assert_eq!(whole["conf_bytes"], size + 8);
    }
    // A `conf` that was left out is null.
    test.sql("update runs set conf = 'null', conf_bytes = 5000000").await;
    let whole = get(&test, &format!("/runs/{run}")).await.expect(200);
    assert_eq!((&whole["conf"], &whole["conf_bytes"]), (&json!(null), &json!(5_000_000)));
}
