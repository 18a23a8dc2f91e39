//! Reading task instances by time windows, from servers whose pages are inconsistent.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use provider::{ProviderError, TaskRunScope};
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::airflow_server::{observation, provider, read_all_pages, response, start_airflow, time};

/// A server that returns the task instances of a window in a different order each time, at most a page of
/// them.
struct UnorderedServer {
    rows: Vec<(DateTime<Utc>, Value)>,
    bounds: [&'static str; 2],
    /// The server's clock.
    clock: DateTime<Utc>,
    requests: AtomicUsize,
}

impl UnorderedServer {
    fn new(bounds: [&'static str; 2], moments: impl IntoIterator<Item = DateTime<Utc>>) -> Self {
        let row = |(index, moment): (usize, DateTime<Utc>)| {
            let row = json!({
                "dag_id": "d", "dag_run_id": "r", "task_id": format!("t{index}"), "map_index": -1,
                "execution_date": moment, "run_after": moment,
            });
            (moment, row)
        };
        let rows = moments.into_iter().enumerate().map(row).collect();
        Self { rows, bounds, clock: observation().at, requests: AtomicUsize::new(0) }
    }
}

impl Respond for UnorderedServer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let request_number = self.requests.fetch_add(1, Ordering::Relaxed);
        let parameter =
            |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let bound = |name: &str| parameter(name).map(|value| value.parse::<DateTime<Utc>>().unwrap());
        let (from, to) = (bound(self.bounds[0]), bound(self.bounds[1]));
        let within = |moment| from.is_none_or(|from| from <= moment) && to.is_none_or(|to| moment <= to);
        let mut rows: Vec<_> =
            self.rows.iter().filter(|(moment, _)| within(*moment)).map(|(_, row)| row).collect();
        let total = rows.len();
        let shift = (request_number * 37) % total.max(1);
        rows.rotate_left(shift);
        let offset = parameter("offset").map_or(0, |offset| offset.parse().unwrap());
        let page: Vec<_> = rows.into_iter().skip(offset).take(100).collect();
        response(200, json!({"task_instances": page, "total_entries": total}).to_string())
            .insert_header("date", httpdate(self.clock))
    }
}

/// Reads all task instances; returns the number of requests.
async fn read_unordered(
    server: MockServer,
    list: &str,
    unordered: UnorderedServer,
    scope: TaskRunScope,
) -> u64 {
    let expected: BTreeSet<_> = (0..unordered.rows.len()).map(|index| format!("t{index}")).collect();
    Mock::given(method("GET")).and(path(list)).respond_with(unordered).mount(&server).await;
    let airflow = provider(&server.uri());
    let (found, _) = read_all_pages(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.task_runs(scope, observation(), page.as_ref()).await }
    })
    .await;
    let found: Vec<_> = found.into_iter().map(|task| task.task_id).collect();
    assert_eq!(found.len(), expected.len(), "no duplicates");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    airflow.requests()
}

const UPDATED: [&str; 2] = ["updated_at_gte", "updated_at_lte"];

#[tokio::test]
async fn all_changes_of_airflow_2_are_found_in_any_order() {
    let since = time("2026-11-23T00:00:00Z");
    let unordered = UnorderedServer::new(UPDATED, (0..1000).map(|minute| since + TimeDelta::minutes(minute)));
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    let requests =
        read_unordered(start_airflow("2.11").await, list, unordered, TaskRunScope::ChangedSince(since)).await;
    assert!(requests < 60, "{requests}");
}

/// The rows that a scheduler writes at once are close together within the interval since the last poll.
#[tokio::test]
async fn two_thousand_fresh_changes_of_one_second_cost_few_requests() {
    let now = Utc::now().trunc_subsecs(0);
    let requests = read_fresh(now, now - TimeDelta::seconds(13)).await;
    assert!(requests < 90, "{requests}");
}

/// The server of Airflow 3 updates its `Date` header once a second, or less often under load.
#[tokio::test]
async fn changes_are_found_although_the_server_clock_lags() {
    let now = Utc::now().trunc_subsecs(0);
    let requests = read_fresh(now - TimeDelta::seconds(2), now - TimeDelta::seconds(1)).await;
    assert!(requests < 90, "{requests}");
}

/// Reads two thousand changes within one second from a server with this clock.
async fn read_fresh(clock: DateTime<Utc>, second: DateTime<Utc>) -> u64 {
    let since = clock - TimeDelta::seconds(33);
    let changes = (0..2000).map(|step| second + TimeDelta::microseconds(step * 500));
    let unordered = UnorderedServer { clock, ..UnorderedServer::new(UPDATED, changes) };
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    read_unordered(start_airflow("2.11").await, list, unordered, TaskRunScope::ChangedSince(since)).await
}

#[tokio::test]
async fn a_thousand_changes_of_one_instant_are_found() {
    let since = time("2026-11-23T00:00:00Z");
    let instant = since + TimeDelta::microseconds(12_345_678);
    let unordered = UnorderedServer::new(UPDATED, std::iter::repeat_n(instant, 1000));
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    let requests =
        read_unordered(start_airflow("2.11").await, list, unordered, TaskRunScope::ChangedSince(since)).await;
    assert!(requests < 150, "{requests}");
}

/// A server whose scheduler updates a hundred rows between two requests.
struct BusyServer {
    updated_at: Mutex<Vec<DateTime<Utc>>>,
    requests: AtomicUsize,
}

impl Respond for BusyServer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let request_number = self.requests.fetch_add(1, Ordering::Relaxed);
        let bound = |name: &str| {
            let parameter = request.url.query_pairs().find(|(key, _)| key == name);
            parameter.map(|(_, value)| value.parse::<DateTime<Utc>>().unwrap())
        };
        let (from, to) = (bound(UPDATED[0]).unwrap(), bound(UPDATED[1]));
        let mut updated_at = self.updated_at.lock().unwrap();
        let now = from.max(Utc::now());
        let within = |at: DateTime<Utc>| from <= at && to.is_none_or(|to| at <= to);
        let rows: Vec<_> = (0..updated_at.len()).filter(|row| within(updated_at[*row])).collect();
        let row = |row: &usize| json!({"dag_id": "d", "dag_run_id": "r", "task_id": format!("t{row}")});
        let page: Vec<_> = rows.iter().take(100).map(row).collect();
        let body = json!({"task_instances": page, "total_entries": rows.len()}).to_string();
        for step in 0..100 {
            let row = (request_number * 100 + step) % updated_at.len();
            updated_at[row] = now + TimeDelta::microseconds(step as i64);
        }
        // No real server responds faster.
        response(200, body).insert_header("date", httpdate(Utc::now())).set_delay(Duration::from_millis(20))
    }
}

fn httpdate(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn a_poll_ends_although_rows_change_during_the_read() {
    let server = start_airflow("2.11").await;
    let since = Utc::now() - TimeDelta::seconds(30);
    let updated_at = (0..2000).map(|row| since + TimeDelta::milliseconds(row * 10)).collect();
    let busy = BusyServer { updated_at: Mutex::new(updated_at), requests: AtomicUsize::new(0) };
    Mock::given(path("/api/v1/dags/~/dagRuns/~/taskInstances")).respond_with(busy).mount(&server).await;
    let airflow = provider(&server.uri());
    let scope = TaskRunScope::ChangedSince(since);
    let mut page = airflow.task_runs(&scope, observation(), None).await.unwrap();
    while let Some(next) = page.next {
        page = airflow.task_runs(&scope, observation(), Some(&next)).await.unwrap();
        assert!(airflow.requests() < 400, "the read does not end");
    }
}

#[tokio::test]
async fn a_history_of_airflow_2_is_read_by_execution_date() {
    let since = time("2026-10-24T00:00:00Z");
    let days = (0..30).flat_map(|day| std::iter::repeat_n(since + TimeDelta::days(day), 20));
    let unordered = UnorderedServer::new(["execution_date_gte", "execution_date_lte"], days);
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since };
    let list = "/api/v1/dags/d/dagRuns/~/taskInstances";
    let requests = read_unordered(start_airflow("2.11").await, list, unordered, scope).await;
    assert!(requests < 30, "{requests}");
}

#[tokio::test]
async fn airflow_3_without_cursors_is_read_by_windows() {
    let since = time("2026-11-01T00:00:00Z");
    let one_run = std::iter::repeat_n(since + TimeDelta::days(3), 250);
    let unordered = UnorderedServer::new(["run_after_gte", "run_after_lte"], one_run);
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since };
    let list = "/api/v2/dags/d/dagRuns/~/taskInstances";
    let requests = read_unordered(start_airflow("3.3").await, list, unordered, scope).await;
    assert!(requests < 60, "{requests}");
}

#[tokio::test]
async fn a_wide_run_is_read_until_all_tasks_were_found() {
    let unordered = UnorderedServer::new(UPDATED, std::iter::repeat_n(time("2026-11-01T00:00:00Z"), 350));
    let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
    let list = "/api/v1/dags/d/dagRuns/r/taskInstances";
    read_unordered(start_airflow("2.11").await, list, unordered, scope).await;
}

/// The list of the run returns the same hundred rows on every page; the list of the mapped task is ordered.
#[tokio::test]
async fn instances_of_a_mapped_task_are_read_from_its_own_list() {
    let server = start_airflow("2.11").await;
    let run = "/api/v1/dags/d/dagRuns/r/taskInstances";
    let row = |index| json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "map_index": index});
    let page = |from: usize, to: usize| {
        let rows: Vec<_> = (from..to).map(row).collect();
        response(200, json!({"task_instances": rows, "total_entries": 250}).to_string())
    };
    Mock::given(path(run)).respond_with(page(0, 100)).mount(&server).await;
    for (offset, from, to) in [("0", 0, 100), ("100", 100, 200), ("200", 200, 250)] {
        Mock::given(path(format!("{run}/t/listMapped")))
            .and(query_param("offset", offset))
            .respond_with(page(from, to))
            .mount(&server)
            .await;
    }
    let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
    let found = provider(&server.uri()).task_runs(&scope, observation(), None).await.unwrap();
    let indexes: Vec<_> = found.items.iter().map(|task| task.map_index).collect();
    assert_eq!(indexes, (0..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_permanently_incomplete_list_is_an_error() {
    let server = start_airflow("2.11").await;
    let row = json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t"});
    let body = json!({"task_instances": vec![row; 100], "total_entries": 200}).to_string();
    Mock::given(path("/api/v1/dags/d/dagRuns/r/taskInstances"))
        .and(query_param_is_missing("order_by"))
        .respond_with(response(200, body))
        .mount(&server)
        .await;
    let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
    let error = provider(&server.uri()).task_runs(&scope, observation(), None).await.unwrap_err();
    assert!(error.to_string().contains("a list of 200 task instances that shows only 1"), "{error}");
}

/// The server returns the same rows for every window.
#[tokio::test]
async fn a_server_that_ignores_filters_is_an_error() {
    let server = start_airflow("2.11").await;
    let row =
        json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "execution_date": "2026-11-02T00:00:00Z"});
    let body = json!({"task_instances": vec![row; 100], "total_entries": 200}).to_string();
    let list = path("/api/v1/dags/d/dagRuns/~/taskInstances");
    Mock::given(list).respond_with(response(200, body)).mount(&server).await;
    let airflow = provider(&server.uri());
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let mut next = None;
    let error = loop {
        match airflow.task_runs(&scope, observation(), next.as_ref()).await {
            Ok(page) => next = Some(page.next.expect("there is always another window")),
            Err(error) => break error,
        }
        assert!(airflow.requests() < 1000, "the read does not end");
    };
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}
