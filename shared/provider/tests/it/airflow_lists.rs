//! Pagination: lists are read completely, by cursor or by offset.

use std::collections::BTreeMap;

use provider::{ProviderError, RunScope};
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, Request, ResponseTemplate};

use crate::airflow_server::{observation, provider, read_all_pages, recorded, response, start_airflow, time};

#[tokio::test]
async fn a_list_with_cursors_is_read_completely() {
    let server = start_airflow("3.3").await;
    let first: Value = serde_json::from_str(&recorded("3.3", "dag_runs_page_1.json")).unwrap();
    for (cursor, name) in
        [("", "dag_runs_page_1.json"), (first["next_cursor"].as_str().unwrap(), "dag_runs_page_2.json")]
    {
        Mock::given(path("/api/v2/dags/~/dagRuns"))
            .and(query_param("cursor", cursor))
            .and(query_param("order_by", "id"))
            .and(query_param("updated_at_gte", "2026-11-24T00:00:00.000000Z"))
            .respond_with(response(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let scope = RunScope::ChangedSince(time("2026-11-24T00:00:00Z"));
    let (runs, pages) = read_all_pages(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.runs(scope, observation(), page.as_ref()).await }
    })
    .await;
    assert_eq!((runs.len(), pages), (7, 2));
}

#[tokio::test]
async fn the_offset_advances_by_the_rows_received() {
    let server = start_airflow("3.3").await;
    for (offset, name) in [("0", "dags_page_1.json"), ("4", "dags_page_2.json")] {
        Mock::given(path("/api/v2/dags"))
            .and(query_param("offset", offset))
            .and(query_param("limit", "100"))
            .and(query_param("exclude_stale", "false"))
            .respond_with(response(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let (pipelines, pages) = read_all_pages(|page| {
        let airflow = &airflow;
        async move { airflow.pipelines(observation(), page.as_ref()).await }
    })
    .await;
    assert_eq!((pipelines.len(), pages), (7, 2));
    assert!(pipelines.is_sorted_by_key(|pipeline| pipeline.external_id.clone()));
}

#[tokio::test]
async fn huge_rows_are_read_in_smaller_pages() {
    let server = start_airflow("3.3").await;
    let huge = "x".repeat(200 << 10);
    let list = move |request: &Request| {
        let parameters: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| parameters.get(name).map_or(0, |number| number.parse().unwrap());
        let (limit, offset): (usize, usize) = (number("limit"), number("offset"));
        let runs: Vec<_> = (offset..(offset + limit).min(150))
            .map(|run| json!({"dag_id": "a", "dag_run_id": format!("r{run}"), "conf": {"huge": huge}}))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"dag_runs": runs, "total_entries": 150}))
    };
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    let (runs, pages) = read_all_pages(|page| {
        let airflow = &airflow;
        async move { airflow.runs(&RunScope::Unfinished, observation(), page.as_ref()).await }
    })
    .await;
    // Four pages of twenty rows, and one with the remaining seventy.
    assert_eq!((runs.len(), pages), (150, 5));
}

#[tokio::test]
async fn unfinished_runs_are_filtered_by_state() {
    let server = start_airflow("3.3").await;
    Mock::given(path("/api/v2/dags/~/dagRuns"))
        .and(|request: &Request| {
            let states: Vec<_> = request.url.query_pairs().filter(|(name, _)| name == "state").collect();
            states.iter().map(|(_, state)| state.as_ref()).eq(["running", "queued"])
        })
        .respond_with(response(200, recorded("3.3", "dag_runs_empty.json")))
        .expect(1)
        .mount(&server)
        .await;
    let page = provider(&server.uri()).runs(&RunScope::Unfinished, observation(), None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
}

/// The server reports a total, but returns no rows.
#[tokio::test]
async fn a_truncated_list_is_an_error() {
    for (api, server) in [("v2", start_airflow("3.3").await), ("v1", start_airflow("2.11").await)] {
        for list in ["dags", "dags/~/dagRuns"] {
            let name = if list == "dags" { "dags" } else { "dag_runs" };
            Mock::given(path(format!("/api/{api}/{list}")))
                .respond_with(response(200, json!({name: [], "total_entries": 12}).to_string()))
                .expect(2)
                .mount(&server)
                .await;
        }
        let airflow = provider(&server.uri());
        let pipelines = airflow.pipelines(observation(), None).await.unwrap_err();
        let runs = airflow.runs(&RunScope::Unfinished, observation(), None).await.unwrap_err();
        for error in [pipelines, runs] {
            assert!(error.to_string().contains("a list said to hold 12 that ends early"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_body_without_items_is_an_error() {
    let server = start_airflow("3.3").await;
    Mock::given(path("/api/v2/dags")).respond_with(response(200, "{}")).mount(&server).await;
    let error = provider(&server.uri()).pipelines(observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_cursor_is_an_error() {
    let server = start_airflow("3.3").await;
    let body = json!({"dag_runs": [], "total_entries": 0, "next_cursor": "again"}).to_string();
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(response(200, body)).mount(&server).await;
    let error = provider(&server.uri()).runs(&RunScope::Unfinished, observation(), None).await.unwrap_err();
    assert!(error.to_string().contains("does not go on"), "{error}");
}

#[tokio::test]
async fn an_empty_run_list_of_a_missing_dag_is_404_in_airflow_2() {
    let server = start_airflow("2.11").await;
    let empty = json!({"dag_runs": [], "total_entries": 0}).to_string();
    Mock::given(path("/api/v1/dags/gone/dagRuns")).respond_with(response(200, empty)).mount(&server).await;
    let missing = response(404, recorded("2.11", "no_dag.json").replace("nope", "gone"));
    Mock::given(path("/api/v1/dags/gone")).respond_with(missing).expect(1).mount(&server).await;
    let scope = RunScope::Pipeline { pipeline: "gone".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let error = provider(&server.uri()).runs(&scope, observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
}
