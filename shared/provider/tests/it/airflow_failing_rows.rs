//! Rows that the server cannot return: every page that holds one of them fails. It costs that row alone, in a
//! bounded number of requests; a list that fails without rows fails at once.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contract::state::EntityKind;
use futures::future::join_all;
use provider::{Page, PageToken, Provider, ProviderError, RunScope, TaskRunScope, UnreadableRows};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::airflow_server::{observation, provider, response, start_airflow, time};

const SINCE: &str = "2026-11-23T00:00:00Z";

/// A list of one of Airflow's releases in which some rows fail.
#[derive(Clone)]
struct FailingList {
    name: &'static str,
    rows: usize,
    failing: BTreeSet<usize>,
    has_cursors: bool,
    /// Whether task instances come in another order with every request.
    is_unordered: bool,
    /// Whether the list fails without rows, too.
    is_down: bool,
    /// The response to a page with a row that fails.
    failure: ResponseTemplate,
}

impl FailingList {
    fn new(release: &str, name: &'static str, rows: usize, failing: &[usize]) -> Self {
        Self {
            name,
            rows,
            failing: failing.iter().copied().collect(),
            has_cursors: release == "3.3" && name != "dags",
            is_unordered: release == "2.11" && name == "task_instances",
            is_down: false,
            failure: response(500, "Internal Server Error"),
        }
    }

    fn row(&self, row: usize) -> Value {
        let (dag, run) = (format!("d{row:03}"), format!("r{row:03}"));
        match self.name {
            "dags" => json!({ "dag_id": dag }),
            "dag_runs" => json!({"dag_id": "d", "dag_run_id": run}),
            _ => json!({"dag_id": "d", "dag_run_id": "r", "task_id": format!("t{row:03}"), "map_index": -1}),
        }
    }

    /// The time of a row: many of them share one.
    fn moment(row: usize) -> DateTime<Utc> {
        time(SINCE) + TimeDelta::hours((row / 30) as i64)
    }
}

impl Respond for FailingList {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let parameter =
            |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let number = |name: &str| parameter(name).map(|value| value.parse::<usize>().unwrap());
        let bound = |names: [&str; 3]| {
            names.iter().find_map(|name| parameter(name)).map(|at| at.parse::<DateTime<Utc>>().unwrap())
        };
        let from = bound(["updated_at_gte", "run_after_gte", "execution_date_gte"]);
        let to = bound(["updated_at_lte", "run_after_lte", "execution_date_lte"]);
        let is_within = |row: &usize| {
            let at = Self::moment(*row);
            from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to)
        };
        let mut rows: Vec<usize> = (0..self.rows).filter(is_within).collect();
        let total = rows.len();
        if self.is_unordered {
            rows.reverse();
        }
        let cursor = parameter("cursor").filter(|_| self.has_cursors);
        let start = match &cursor {
            Some(cursor) => cursor.parse().unwrap_or_default(),
            None => number("offset").unwrap_or_default(),
        };
        let limit = number("limit").unwrap().min(100);
        let page: Vec<_> = rows.into_iter().skip(start).take(limit).collect();
        if self.is_down || page.iter().any(|row| self.failing.contains(row)) {
            return self.failure.clone();
        }
        let end = start + page.len();
        let page: Vec<_> = page.into_iter().map(|row| self.row(row)).collect();
        let mut body = json!({self.name: page, "total_entries": total});
        if cursor.is_some() {
            body["next_cursor"] = if end < total { json!(end.to_string()) } else { Value::Null };
        }
        response(200, body.to_string())
    }
}

async fn start(release: &str, list: FailingList) -> (MockServer, Box<dyn Provider>) {
    let server = start_airflow(release).await;
    let api = if release == "2.11" { "v1" } else { "v2" };
    let at = match list.name {
        "dags" => "dags",
        "dag_runs" => "dags/~/dagRuns",
        _ => "dags/~/dagRuns/~/taskInstances",
    };
    let at = format!("/api/{api}/{at}");
    Mock::given(method("GET")).and(path(at)).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    (server, airflow)
}

/// Reads a list: the ids of its rows, and what could not be read.
async fn read(airflow: &dyn Provider, list: &str) -> Result<(Vec<String>, UnreadableRows), ProviderError> {
    let (mut ids, mut unreadable) = (Vec::new(), UnreadableRows::default());
    let mut next: Option<PageToken> = None;
    loop {
        let (page, found) = read_page(airflow, list, next.as_ref()).await?;
        ids.extend(page);
        unreadable.count += found.unreadable.count;
        unreadable.lost += found.unreadable.lost;
        unreadable.entries.extend(found.unreadable.entries);
        next = found.next;
        if next.is_none() {
            ids.sort();
            return Ok((ids, unreadable));
        }
        assert!(airflow.requests() < 8000, "the read does not end");
    }
}

async fn read_page(
    airflow: &dyn Provider,
    list: &str,
    page: Option<&PageToken>,
) -> Result<(Vec<String>, Page<()>), ProviderError> {
    fn split<T>(page: Page<T>, id: impl Fn(&T) -> String) -> (Vec<String>, Page<()>) {
        let ids = page.items.iter().map(id).collect();
        (ids, Page { items: Vec::new(), unreadable: page.unreadable, next: page.next, permit: page.permit })
    }
    Ok(match list {
        "dags" => split(airflow.pipelines(observation(), page).await?, |dag| dag.external_id.clone()),
        "dag_runs" => {
            let scope = RunScope::ChangedSince(time(SINCE));
            split(airflow.runs(&scope, observation(), page).await?, |run| run.external_id.clone())
        }
        _ => {
            let scope = TaskRunScope::ChangedSince(time(SINCE));
            split(airflow.task_runs(&scope, observation(), page).await?, |task| task.task_id.clone())
        }
    })
}

async fn check_failing_rows(release: &str, name: &'static str, failure: ResponseTemplate) {
    let failing = [0, 37, 149];
    let list = FailingList { failure, ..FailingList::new(release, name, 150, &failing) };
    let (_server, airflow) = start(release, list).await;
    let (ids, unreadable) = read(airflow.as_ref(), name).await.unwrap();
    let letter = match name {
        "dags" => 'd',
        "dag_runs" => 'r',
        _ => 't',
    };
    let expected = (0..150).filter(|row| !failing.contains(row)).map(|row| format!("{letter}{row:03}"));
    assert_eq!(ids, Vec::from_iter(expected), "{release} {name}");
    assert_eq!((unreadable.count, unreadable.lost), (3, 3), "{release} {name}: {unreadable:?}");
    let what = match name {
        "dags" => EntityKind::Pipeline,
        "dag_runs" => EntityKind::Run,
        _ => EntityKind::TaskRun,
    };
    for entry in &unreadable.entries {
        assert_eq!((entry.what, entry.id.as_str()), (what, "unknown"));
        assert!(entry.reason.starts_with("row "), "{entry:?}");
    }
    assert!(airflow.requests() < 250, "{release} {name}: {} requests", airflow.requests());
}

#[tokio::test]
async fn a_row_that_fails_costs_only_that_row() {
    let releases = ["2.11", "3.1", "3.3"];
    let lists = releases.iter().flat_map(|release| {
        ["dags", "dag_runs", "task_instances"]
            .map(|name| check_failing_rows(release, name, response(500, "Internal Server Error")))
    });
    join_all(lists).await;
}

#[tokio::test]
async fn a_row_that_breaks_the_body_costs_only_that_row() {
    let lists = ["dags", "dag_runs", "task_instances"]
        .map(|name| check_failing_rows("3.1", name, response(200, r#"{"dag_runs":[{"dag_id":"d"#)));
    join_all(lists).await;
}

/// A history names the pipeline of the row.
#[tokio::test]
async fn a_row_that_fails_is_named_by_the_pipeline_of_its_list() {
    let server = start_airflow("3.3").await;
    let list = FailingList::new("3.3", "dag_runs", 3, &[1]);
    Mock::given(path("/api/v2/dags/d/dagRuns")).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    let scope = RunScope::Pipeline { pipeline: "d".to_owned(), since: time(SINCE) };
    let (mut items, mut entries, mut next) = (Vec::new(), Vec::new(), None);
    loop {
        let page = airflow.runs(&scope, observation(), next.as_ref()).await.unwrap();
        items.extend(page.items);
        entries.extend(page.unreadable.entries);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(items.len(), 2);
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.id, "d/unknown");
    assert!(entry.reason.starts_with("row 2 of 3: The provider at 127.0.0.1:"), "{entry:?}");
    assert!(entry.reason.contains("answered 500"), "{entry:?}");
}

#[tokio::test]
async fn a_list_that_fails_without_rows_fails_at_once() {
    for (release, name) in [("2.11", "dag_runs"), ("3.1", "dags"), ("3.3", "task_instances")] {
        let list = FailingList { is_down: true, ..FailingList::new(release, name, 150, &[]) };
        let (_server, airflow) = start(release, list).await;
        let error = read(airflow.as_ref(), name).await.unwrap_err();
        assert!(matches!(error, ProviderError::Failing { status: 500, .. }), "{error}");
        assert!(airflow.requests() <= 6, "{release} {name}: {} requests", airflow.requests());
    }
}

#[tokio::test]
async fn a_list_of_which_every_row_fails_fails_after_a_bounded_number_of_requests() {
    let all = Vec::from_iter(0..1000);
    let lists = ["dags", "dag_runs", "task_instances"].map(async |name| {
        let (_server, airflow) = start("3.1", FailingList::new("3.1", name, 1000, &all)).await;
        let error = read(airflow.as_ref(), name).await.unwrap_err();
        assert!(matches!(error, ProviderError::Failing { status: 500, .. }), "{error}");
        assert!(airflow.requests() < 700, "{name}: {} requests", airflow.requests());
    });
    join_all(lists).await;
}

/// More than single rows are searched for: then a few rows beside each of them are left out, too.
async fn check_many_failing_rows(release: &str, name: &'static str) {
    let failing = Vec::from_iter((7..2400).step_by(34));
    let (_server, airflow) = start(release, FailingList::new(release, name, 2400, &failing)).await;
    let (mut ids, unreadable) = read(airflow.as_ref(), name).await.unwrap();
    ids.dedup();
    assert_eq!(ids.len() as u64 + unreadable.lost, 2400, "{release} {name}");
    assert!((72..600).contains(&unreadable.lost), "{release} {name}: {} lost", unreadable.lost);
    let ranges = unreadable.entries.iter().filter(|entry| entry.reason.starts_with("rows ")).count();
    assert!(ranges > 0, "{release} {name}");
}

#[tokio::test]
async fn a_list_of_which_many_rows_fail_is_read_to_its_end() {
    let lists = [("2.11", "dag_runs"), ("3.3", "dag_runs")];
    join_all(lists.map(|(release, name)| check_many_failing_rows(release, name))).await;
}
