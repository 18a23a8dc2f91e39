//! Rows that are larger than an event or a page may be: what is too large is left out and named, and a page
//! of such rows is read in parts.

use contract::events::RunObserved;
use provider::{ProviderError, RunScope};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, Request};

use crate::airflow_server::{observation, provider, response, start_airflow};

/// An event has a limit, and a pipeline is not stale for what is large in it.
#[tokio::test]
async fn what_is_too_large_in_a_pipeline_is_cut_and_named() {
    let server = start_airflow("3.3").await;
    let (text, names) = ("x".repeat(200_000), vec!["n".repeat(1_000); 600]);
    let numbered: Vec<_> = names.iter().enumerate().map(|(number, name)| format!("{number}{name}")).collect();
    let mut dag = json!({"dag_id": "large", "owners": numbered});
    for field in 0..20 {
        dag[format!("field {field}")] = json!(text);
    }
    dag["a huge field"] = json!("x".repeat(300_000));
    let body = json!({"dags": [dag, {"dag_id": "small"}], "total_entries": 2});
    Mock::given(path("/api/v2/dags")).respond_with(response(200, body.to_string())).mount(&server).await;
    let page = provider(&server.uri()).pipelines(observation(), None).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable.count, page.unreadable.lost), (2, 1, 0));
    let large = &page.items[0];
    assert_eq!(large.owners.len(), 3, "of 4,000 bytes together");
    assert_eq!(large.provider_metadata["field 0"], text);
    assert_eq!(large.provider_metadata["a huge field"], Value::Null);
    let reason = &page.unreadable.entries[0].reason;
    assert!(reason.contains("a huge field is too large"), "{reason}");
    assert!(json!(large).to_string().len() < 2 << 20, "{} bytes", json!(large).to_string().len());
}

#[tokio::test]
async fn a_graph_that_is_too_large_for_an_event_is_an_error() {
    let server = start_airflow("3.3").await;
    let name = |task: usize| format!("a task with a rather long name {task:04}");
    for (tasks, is_too_large) in [(100, false), (1_000, true)] {
        let downstream: Vec<_> = (0..100).map(name).collect();
        let task = |task| json!({"task_id": name(task), "downstream_task_ids": downstream});
        let body = json!({"tasks": (0..tasks).map(task).collect::<Vec<_>>()});
        let at = format!("/api/v2/dags/of_{tasks}/tasks");
        Mock::given(path(at)).respond_with(response(200, body.to_string())).mount(&server).await;
        let graph = provider(&server.uri()).tasks(&format!("of_{tasks}")).await;
        assert_eq!(matches!(graph, Err(ProviderError::Oversized { .. })), is_too_large, "{tasks} tasks");
    }
}

/// Of several large rows no page is read to its end, whatever the limit of a single row.
#[tokio::test]
async fn a_page_of_large_rows_is_read_in_parts() {
    for page in read_ten_runs(json!({"text": "x".repeat(1_500_000)})).await {
        let bytes: usize = page.iter().map(|run| run.conf.get().len()).sum();
        assert!(bytes <= 6 << 20, "a page of {bytes} bytes");
    }
}

/// Small values take much more memory than their text.
#[tokio::test]
async fn a_page_of_rows_with_many_values_is_read_in_parts() {
    for page in read_ten_runs(json!({"numbers": vec![0; 30_000]})).await {
        assert!(page.len() <= 3, "a page of {} runs", page.len());
    }
}

/// Reads all pages of a list of ten runs that have this conf.
async fn read_ten_runs(conf: Value) -> Vec<Vec<RunObserved>> {
    let server = start_airflow("3.1").await;
    let list = move |request: &Request| {
        let number = |name: &str| {
            let parameter = request.url.query_pairs().find(|(key, _)| key == name);
            parameter.map_or(0, |(_, value)| value.parse::<usize>().unwrap())
        };
        let rows = (number("offset")..10).take(number("limit"));
        let run = |row| json!({"dag_id": "d", "dag_run_id": format!("r{row}"), "conf": conf});
        let body = json!({"dag_runs": rows.map(run).collect::<Vec<_>>(), "total_entries": 10});
        response(200, body.to_string())
    };
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    let (mut pages, mut next) = (Vec::new(), None);
    loop {
        let page = airflow.runs(&RunScope::Unfinished, observation(), next.as_ref()).await.unwrap();
        assert_eq!(page.unreadable.count, 0);
        pages.push(page.items);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let runs: Vec<_> = pages.iter().flatten().map(|run| run.external_id.clone()).collect();
    assert_eq!(runs, (0..10).map(|row| format!("r{row}")).collect::<Vec<_>>());
    pages
}
