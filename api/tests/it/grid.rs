//! The grid of a pipeline: tasks by runs.

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use contract::ids::PipelineId;
use serde_json::{Value, json};

use crate::app::{SPACE, TestApi};
use crate::assertions::field_of_each;
use crate::response::TestResponse;
use crate::seed::{VIEWER, hours_ago};

fn path(pipeline: PipelineId, query: &str) -> String {
    format!("/spaces/{SPACE}/orchestration/pipelines/{pipeline}/grid?{query}")
}

async fn grid(test: &TestApi, pipeline: PipelineId, query: &str) -> TestResponse {
    test.get(&path(pipeline, query)).await
}

fn cells(grid: &Value) -> Vec<&str> {
    grid["cells"].as_str().unwrap().split('\n').collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one pipeline shows every state")]
async fn a_cell_is_a_letter_or_the_counts_of_a_mapped_task() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let older = test.run(pipeline, "older", "failed", hours_ago(2)).await;
    let newer = test.run(pipeline, "newer", "running", hours_ago(1)).await;
    for (task, state) in [
        ("a_pending", "pending"),
        ("b_scheduled", "scheduled"),
        ("c_queued", "queued"),
        ("d_running", "running"),
        ("e_success", "success"),
        ("f_failed", "failed"),
        ("g_retrying", "retrying"),
        ("h_skipped", "skipped"),
        ("i_upstream", "upstream_failed"),
        ("j_deferred", "deferred"),
        ("k_removed", "removed"),
        ("l_unknown", "unknown"),
        ("m_later", "of a later release"),
    ] {
        test.task_run(newer, task, -1, state).await;
    }
    test.task_run(older, "e_success", -1, "failed").await;
    test.task_run(older, "old", -1, "success").await;
    for index in 0..20 {
        test.task_run(older, "mapped", index, if index % 10 == 3 { "failed" } else { "success" }).await;
    }
    test.task_run(newer, "mapped", -1, "scheduled").await;
    test.sql("update task_runs set name = 'Seen first' where task_id = 'e_success' and status = 'failed'")
        .await;
    let deleted = test.task_run(newer, "gone", -1, "success").await;
    test.sql(&format!("update task_runs set deleted_at = now() where id = '{deleted}'")).await;

    let found = grid(&test, pipeline, "").await.expect(200);
    assert_eq!(field_of_each(&found["runs"], "external_id"), ["newer", "older"]);
    assert!(found["runs"][0].get("conf").is_none() && found["runs"][0]["conf_bytes"] == 2);
    assert_eq!(found["runs"][1]["task_counts"], json!({"success": 19, "failed": 3}));
    let lines: Vec<_> = field_of_each(&found["tasks"], "task_id").into_iter().zip(cells(&found)).collect();
    let expected = [
        ("a_pending", "p,"),
        ("b_scheduled", "c,"),
        ("c_queued", "q,"),
        ("d_running", "r,"),
        ("e_success", "s,f"),
        ("f_failed", "f,"),
        ("g_retrying", "t,"),
        ("h_skipped", "k,"),
        ("i_upstream", "u,"),
        ("j_deferred", "d,"),
        ("k_removed", "x,"),
        ("l_unknown", "n,"),
        ("m_later", "n,"),
        ("mapped", "1c,18s2f"),
        ("old", ",s"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(found["tasks"][13], json!({"task_id": "mapped", "name": "mapped", "mapped": true}));
    assert_eq!(found["tasks"][4]["name"], "e_success", "the newest run names a task");
    let all = grid(&test, pipeline, "include_deleted=true").await.expect(200);
    assert!(field_of_each(&all["tasks"], "task_id").contains(&"gone"));
    let none = grid(&test, pipeline, "status=queued").await.expect(200);
    assert_eq!(none, json!({"tasks": [], "runs": [], "cells": ""}));
}

#[tokio::test]
async fn older_runs_follow_by_the_cursor() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    for hours in 1..=5 {
        let status = if hours == 2 { "failed" } else { "success" };
        let run = test.run(pipeline, &format!("r{hours}"), status, hours_ago(hours)).await;
        test.task_run(run, &format!("t{hours}"), -1, "success").await;
    }
    let mut found = Vec::new();
    let mut query = "status=success&runs=2".to_owned();
    loop {
        let response = grid(&test, pipeline, &query).await;
        let cursor = response.header("x-next-cursor").to_owned();
        let page = response.expect(200);
        found.push(field_of_each(&page["tasks"], "task_id").join(" "));
        // A run that arrives meanwhile moves no other.
        test.run(pipeline, &format!("new {}", found.len()), "success", hours_ago(0)).await;
        if cursor.is_empty() {
            break;
        }
        query = format!("status=success&runs=3&cursor={cursor}");
    }
    assert_eq!(found, ["t1 t3", "t4 t5"]);
    let first = grid(&test, pipeline, "runs=1").await;
    let cursor = first.header("x-next-cursor").to_owned();
    let other = format!("runs=1&status=failed&cursor={cursor}");
    assert_eq!(grid(&test, pipeline, &other).await.invalid_fields(), ["query.cursor"]);
    for bad in ["runs=0", "runs=101", "runs=x", "status=good", "cursor=x", "started_from=x"] {
        assert_eq!(grid(&test, pipeline, bad).await.status, 422, "{bad}");
    }
    let foreign = test.pipeline_of(test.other_connector, "theirs").await;
    assert_eq!(grid(&test, foreign, "").await.expect(404), json!({"detail": "Pipeline not found"}));
    assert_eq!(grid(&test, test.pipeline("empty").await, "").await.expect(200)["runs"], json!([]));
}

/// Creates this number of runs of a pipeline, with this number of tasks each, of which each fifth is mapped.
async fn insert_runs(test: &TestApi, runs: i64, tasks: i64, instances: i64) -> PipelineId {
    let pipeline = test.pipeline("large").await;
    for n in 0..runs {
        test.run(pipeline, &format!("r{n}"), "success", hours_ago(n)).await;
    }
    test.sql(&format!(
        "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
             version, fingerprint, log_offset, observed_at, task_id, map_index, name, status, provider_status,
             try_number, max_tries)
         select gen_random_uuid(), space_id, connector_id, pipeline_id, r.id, 'airflow', '', 1, '', 0, now(),
             'transform_table_' || t, index, 'transform_table_' || t,
             (array['success', 'success', 'failed', 'skipped'])[1 + floor(random() * 4)::int], '', 1, 0
         from runs r, generate_series(1, {tasks}) t,
             generate_series(case when t % 5 = 0 then 0 else -1 end,
                 case when t % 5 = 0 then {instances} - 1 else -1 end) index"
    ))
    .await;
    pipeline
}

#[tokio::test]
async fn a_grid_of_2000_tasks_and_28_runs_is_at_most_200_kb() {
    let test = TestApi::new().await;
    let pipeline = insert_runs(&test, 28, 2_000, 1).await;
    let request = Request::builder()
        .uri(format!("{}{}", api::http::BASE_PATH, path(pipeline, "runs=28")))
        .header(header::AUTHORIZATION, format!("Bearer {VIEWER}"))
        .header(header::ACCEPT_ENCODING, "gzip");
    let response = test.respond(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::CONTENT_ENCODING]),
        (200, &"gzip".parse().unwrap())
    );
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(bytes.len() <= 200_000, "{} bytes", bytes.len());
    let found = grid(&test, pipeline, "runs=28").await.expect(200);
    assert_eq!((cells(&found).len(), found["runs"].as_array().unwrap().len()), (2_000, 28));
    assert!(cells(&found).iter().all(|line| line.split(',').filter(|field| !field.is_empty()).count() == 28));
}

#[tokio::test]
async fn a_grid_of_very_many_task_runs_has_fewer_runs() {
    let test = TestApi::new().await;
    // 30,004 task runs a run: the newest run, and three within the limit of 100,000.
    let pipeline = insert_runs(&test, 6, 5, 30_000).await;
    let first = grid(&test, pipeline, "").await;
    let cursor = first.header("x-next-cursor").to_owned();
    let first = first.expect(200);
    assert_eq!(field_of_each(&first["runs"], "external_id"), ["r0", "r1", "r2", "r3"]);
    assert!(cells(&first).iter().all(|line| line.split(',').count() == 4));
    let next = grid(&test, pipeline, &format!("cursor={cursor}")).await.expect(200);
    assert_eq!(field_of_each(&next["runs"], "external_id"), ["r4", "r5"]);
    let total = |page: &Value| {
        let mapped = cells(page)[4].split(',').next().unwrap().to_owned();
        let counts = mapped.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<i64>().ok());
        counts.sum::<i64>()
    };
    assert_eq!((total(&first), total(&next)), (30_000, 30_000));
}
