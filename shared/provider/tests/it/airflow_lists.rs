//! Lists are read whole: by cursor, by the rows that came, or by windows of time where pages cannot be trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use provider::{ProviderError, RunScope, TaskRunScope};
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::airflow_stage::{airflow_of, all, answer, provider, recorded, seen, time};

#[tokio::test]
async fn a_cursor_is_followed_to_its_end() {
    let server = airflow_of("3.3").await;
    let first: Value = serde_json::from_str(&recorded("3.3", "dag_runs_page_1.json")).unwrap();
    for (cursor, name) in
        [("", "dag_runs_page_1.json"), (first["next_cursor"].as_str().unwrap(), "dag_runs_page_2.json")]
    {
        Mock::given(path("/api/v2/dags/~/dagRuns"))
            .and(query_param("cursor", cursor))
            .and(query_param("order_by", "id"))
            .and(query_param("updated_at_gte", "2026-11-24T00:00:00.000000Z"))
            .respond_with(answer(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let scope = RunScope::ChangedSince(time("2026-11-24T00:00:00Z"));
    let (runs, pages) = all(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.runs(scope, seen(), page.as_ref()).await }
    })
    .await;
    assert_eq!((runs.len(), pages), (7, 2));
}

#[tokio::test]
async fn pages_step_by_the_rows_that_came() {
    let server = airflow_of("3.3").await;
    for (offset, name) in [("0", "dags_page_1.json"), ("4", "dags_page_2.json")] {
        Mock::given(path("/api/v2/dags"))
            .and(query_param("offset", offset))
            .and(query_param("limit", "100"))
            .and(query_param("exclude_stale", "false"))
            .respond_with(answer(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let (pipelines, pages) = all(|page| {
        let airflow = &airflow;
        async move { airflow.pipelines(seen(), page.as_ref()).await }
    })
    .await;
    assert_eq!((pipelines.len(), pages), (7, 2));
    assert!(pipelines.is_sorted_by_key(|pipeline| pipeline.external_id.clone()));
}

#[tokio::test]
async fn rows_so_large_that_a_page_is_too_much_are_read_in_smaller_pages() {
    let server = airflow_of("3.3").await;
    let huge = "x".repeat(200 << 10);
    let list = move |request: &Request| {
        let asked: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| asked.get(name).map_or(0, |number| number.parse().unwrap());
        let (limit, offset): (usize, usize) = (number("limit"), number("offset"));
        let runs: Vec<_> = (offset..(offset + limit).min(150))
            .map(|run| json!({"dag_id": "a", "dag_run_id": format!("r{run}"), "conf": {"huge": huge}}))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"dag_runs": runs, "total_entries": 150}))
    };
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    let (runs, pages) = all(|page| {
        let airflow = &airflow;
        async move { airflow.runs(&RunScope::Unfinished, seen(), page.as_ref()).await }
    })
    .await;
    // Four of twenty rows, and then one with the seventy that are left.
    assert_eq!((runs.len(), pages), (150, 5));
}

#[tokio::test]
async fn unfinished_runs_are_asked_for_by_state() {
    let server = airflow_of("3.3").await;
    Mock::given(path("/api/v2/dags/~/dagRuns"))
        .and(|request: &Request| {
            let states: Vec<_> = request.url.query_pairs().filter(|(name, _)| name == "state").collect();
            states.iter().map(|(_, state)| state.as_ref()).eq(["running", "queued"])
        })
        .respond_with(answer(200, recorded("3.3", "dag_runs_empty.json")))
        .expect(1)
        .mount(&server)
        .await;
    let page = provider(&server.uri()).runs(&RunScope::Unfinished, seen(), None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
}

/// A list that says it holds something, and shows nothing.
#[tokio::test]
async fn a_cut_list_is_not_taken_for_an_empty_one() {
    for (api, server) in [("v2", airflow_of("3.3").await), ("v1", airflow_of("2.11").await)] {
        for list in ["dags", "dags/~/dagRuns"] {
            let name = if list == "dags" { "dags" } else { "dag_runs" };
            Mock::given(path(format!("/api/{api}/{list}")))
                .respond_with(answer(200, json!({name: [], "total_entries": 12}).to_string()))
                .expect(2)
                .mount(&server)
                .await;
        }
        let airflow = provider(&server.uri());
        let pipelines = airflow.pipelines(seen(), None).await.unwrap_err();
        let runs = airflow.runs(&RunScope::Unfinished, seen(), None).await.unwrap_err();
        for error in [pipelines, runs] {
            assert!(error.to_string().contains("a list said to hold 12 that ends early"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_body_without_its_list_is_not_an_empty_list() {
    let server = airflow_of("3.3").await;
    Mock::given(path("/api/v2/dags")).respond_with(answer(200, "{}")).mount(&server).await;
    let error = provider(&server.uri()).pipelines(seen(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_ends() {
    let server = airflow_of("3.3").await;
    let body = json!({"dag_runs": [], "total_entries": 0, "next_cursor": "again"}).to_string();
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(answer(200, body)).mount(&server).await;
    let error = provider(&server.uri()).runs(&RunScope::Unfinished, seen(), None).await.unwrap_err();
    assert!(error.to_string().contains("does not go on"), "{error}");
}

#[tokio::test]
async fn airflow_2_does_not_tell_a_pipeline_without_runs_from_none() {
    let server = airflow_of("2.11").await;
    let empty = json!({"dag_runs": [], "total_entries": 0}).to_string();
    Mock::given(path("/api/v1/dags/gone/dagRuns")).respond_with(answer(200, empty)).mount(&server).await;
    let missing = answer(404, recorded("2.11", "no_dag.json"));
    Mock::given(path("/api/v1/dags/gone")).respond_with(missing).expect(1).mount(&server).await;
    let scope = RunScope::Pipeline { pipeline: "gone".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let error = provider(&server.uri()).runs(&scope, seen(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
}

/// Task instances of a server that returns those of a window in another order every time, a page at most.
struct Disorder {
    rows: Vec<(DateTime<Utc>, Value)>,
    bounds: [&'static str; 2],
    /// What the server takes for now.
    clock: DateTime<Utc>,
    asked: AtomicUsize,
}

impl Disorder {
    fn new(bounds: [&'static str; 2], moments: impl IntoIterator<Item = DateTime<Utc>>) -> Self {
        let row = |(index, moment): (usize, DateTime<Utc>)| {
            let row = json!({
                "dag_id": "d", "dag_run_id": "r", "task_id": format!("t{index}"), "map_index": -1,
                "execution_date": moment, "run_after": moment,
            });
            (moment, row)
        };
        let rows = moments.into_iter().enumerate().map(row).collect();
        Self { rows, bounds, clock: seen().at, asked: AtomicUsize::new(0) }
    }
}

impl Respond for Disorder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let given =
            |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let bound = |name: &str| given(name).map(|value| value.parse::<DateTime<Utc>>().unwrap());
        let (from, to) = (bound(self.bounds[0]), bound(self.bounds[1]));
        let within = |moment| from.is_none_or(|from| from <= moment) && to.is_none_or(|to| moment <= to);
        let mut rows: Vec<_> =
            self.rows.iter().filter(|(moment, _)| within(*moment)).map(|(_, row)| row).collect();
        let total = rows.len();
        let turn = (asked * 37) % total.max(1);
        rows.rotate_left(turn);
        let offset = given("offset").map_or(0, |offset| offset.parse().unwrap());
        let page: Vec<_> = rows.into_iter().skip(offset).take(100).collect();
        answer(200, json!({"task_instances": page, "total_entries": total}).to_string())
            .insert_header("date", httpdate(self.clock))
    }
}

/// Reads all of it and gives the number of requests.
async fn read_disorder(server: MockServer, list: &str, disorder: Disorder, scope: TaskRunScope) -> u64 {
    let wanted: BTreeSet<_> = (0..disorder.rows.len()).map(|index| format!("t{index}")).collect();
    Mock::given(method("GET")).and(path(list)).respond_with(disorder).mount(&server).await;
    let airflow = provider(&server.uri());
    let (found, _) = all(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.task_runs(scope, seen(), page.as_ref()).await }
    })
    .await;
    let found: Vec<_> = found.into_iter().map(|task| task.task_id).collect();
    assert_eq!(found.len(), wanted.len(), "nothing comes twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
    airflow.requests()
}

const UPDATED: [&str; 2] = ["updated_at_gte", "updated_at_lte"];

#[tokio::test]
async fn changes_of_airflow_2_are_all_found_whatever_their_order() {
    let since = time("2026-11-23T00:00:00Z");
    let disorder = Disorder::new(UPDATED, (0..1000).map(|minute| since + TimeDelta::minutes(minute)));
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    let requests =
        read_disorder(airflow_of("2.11").await, list, disorder, TaskRunScope::ChangedSince(since)).await;
    assert!(requests < 60, "{requests}");
}

/// What a scheduler writes at once lies close together somewhere in the half minute since the last poll.
#[tokio::test]
async fn two_thousand_fresh_changes_of_one_second_cost_few_requests() {
    let now = Utc::now().trunc_subsecs(0);
    let requests = read_fresh(now, now - TimeDelta::seconds(13)).await;
    assert!(requests < 90, "{requests}");
}

/// Airflow 3's server looks at its clock once a second, if it is not busy, and tells whole seconds.
#[tokio::test]
async fn changes_are_found_though_the_server_tells_an_older_time() {
    let now = Utc::now().trunc_subsecs(0);
    let requests = read_fresh(now - TimeDelta::seconds(2), now - TimeDelta::seconds(1)).await;
    assert!(requests < 90, "{requests}");
}

/// Two thousand changes within a second, of a server that tells this time.
async fn read_fresh(clock: DateTime<Utc>, second: DateTime<Utc>) -> u64 {
    let since = clock - TimeDelta::seconds(33);
    let changes = (0..2000).map(|step| second + TimeDelta::microseconds(step * 500));
    let disorder = Disorder { clock, ..Disorder::new(UPDATED, changes) };
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    read_disorder(airflow_of("2.11").await, list, disorder, TaskRunScope::ChangedSince(since)).await
}

#[tokio::test]
async fn a_thousand_changes_of_one_instant_are_all_found() {
    let since = time("2026-11-23T00:00:00Z");
    let instant = since + TimeDelta::microseconds(12_345_678);
    let disorder = Disorder::new(UPDATED, std::iter::repeat_n(instant, 1000));
    let list = "/api/v1/dags/~/dagRuns/~/taskInstances";
    let requests =
        read_disorder(airflow_of("2.11").await, list, disorder, TaskRunScope::ChangedSince(since)).await;
    assert!(requests < 150, "{requests}");
}

/// A server whose scheduler stamps a hundred rows anew between any two requests.
struct Busy {
    stamps: Mutex<Vec<DateTime<Utc>>>,
    asked: AtomicUsize,
}

impl Respond for Busy {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let bound = |name: &str| {
            let given = request.url.query_pairs().find(|(key, _)| key == name);
            given.map(|(_, value)| value.parse::<DateTime<Utc>>().unwrap())
        };
        let (from, to) = (bound(UPDATED[0]).unwrap(), bound(UPDATED[1]));
        let mut stamps = self.stamps.lock().unwrap();
        let now = from.max(Utc::now());
        let within = |at: DateTime<Utc>| from <= at && to.is_none_or(|to| at <= to);
        let rows: Vec<_> = (0..stamps.len()).filter(|row| within(stamps[*row])).collect();
        let row = |row: &usize| json!({"dag_id": "d", "dag_run_id": "r", "task_id": format!("t{row}")});
        let page: Vec<_> = rows.iter().take(100).map(row).collect();
        let body = json!({"task_instances": page, "total_entries": rows.len()}).to_string();
        for step in 0..100 {
            let row = (asked * 100 + step) % stamps.len();
            stamps[row] = now + TimeDelta::microseconds(step as i64);
        }
        // No real one answers sooner.
        answer(200, body).insert_header("date", httpdate(Utc::now())).set_delay(Duration::from_millis(20))
    }
}

fn httpdate(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn a_poll_ends_though_rows_change_faster_than_they_are_read() {
    let server = airflow_of("2.11").await;
    let since = Utc::now() - TimeDelta::seconds(30);
    let stamps = (0..2000).map(|row| since + TimeDelta::milliseconds(row * 10)).collect();
    let busy = Busy { stamps: Mutex::new(stamps), asked: AtomicUsize::new(0) };
    Mock::given(path("/api/v1/dags/~/dagRuns/~/taskInstances")).respond_with(busy).mount(&server).await;
    let airflow = provider(&server.uri());
    let scope = TaskRunScope::ChangedSince(since);
    let mut page = airflow.task_runs(&scope, seen(), None).await.unwrap();
    while let Some(next) = page.next {
        page = airflow.task_runs(&scope, seen(), Some(&next)).await.unwrap();
        assert!(airflow.requests() < 400, "no end in sight");
    }
}

#[tokio::test]
async fn a_history_of_airflow_2_is_read_by_the_dates_of_its_runs() {
    let since = time("2026-10-24T00:00:00Z");
    let days = (0..30).flat_map(|day| std::iter::repeat_n(since + TimeDelta::days(day), 20));
    let disorder = Disorder::new(["execution_date_gte", "execution_date_lte"], days);
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since };
    let list = "/api/v1/dags/d/dagRuns/~/taskInstances";
    let requests = read_disorder(airflow_of("2.11").await, list, disorder, scope).await;
    assert!(requests < 30, "{requests}");
}

#[tokio::test]
async fn airflow_3_without_cursors_is_read_by_windows_too() {
    let since = time("2026-11-01T00:00:00Z");
    let one_run = std::iter::repeat_n(since + TimeDelta::days(3), 250);
    let disorder = Disorder::new(["run_after_gte", "run_after_lte"], one_run);
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since };
    let list = "/api/v2/dags/d/dagRuns/~/taskInstances";
    let requests = read_disorder(airflow_of("3.3").await, list, disorder, scope).await;
    assert!(requests < 60, "{requests}");
}

#[tokio::test]
async fn one_wide_run_is_read_until_every_task_was_seen() {
    let disorder = Disorder::new(UPDATED, std::iter::repeat_n(time("2026-11-01T00:00:00Z"), 350));
    let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
    let list = "/api/v1/dags/d/dagRuns/r/taskInstances";
    read_disorder(airflow_of("2.11").await, list, disorder, scope).await;
}

/// The list of the run shows the same hundred rows on every page; the mapped task's own list has an order.
#[tokio::test]
async fn the_many_of_a_mapped_task_are_read_by_its_own_list() {
    let server = airflow_of("2.11").await;
    let run = "/api/v1/dags/d/dagRuns/r/taskInstances";
    let row = |index| json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "map_index": index});
    let page = |from: usize, to: usize| {
        let rows: Vec<_> = (from..to).map(row).collect();
        answer(200, json!({"task_instances": rows, "total_entries": 250}).to_string())
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
    let found = provider(&server.uri()).task_runs(&scope, seen(), None).await.unwrap();
    let indexes: Vec<_> = found.items.iter().map(|task| task.map_index).collect();
    assert_eq!(indexes, (0..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_that_never_shows_all_of_itself_is_an_error() {
    let server = airflow_of("2.11").await;
    let row = json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t"});
    let body = json!({"task_instances": vec![row; 100], "total_entries": 200}).to_string();
    Mock::given(path("/api/v1/dags/d/dagRuns/r/taskInstances"))
        .and(query_param_is_missing("order_by"))
        .respond_with(answer(200, body))
        .mount(&server)
        .await;
    let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
    let error = provider(&server.uri()).task_runs(&scope, seen(), None).await.unwrap_err();
    assert!(error.to_string().contains("a list of 200 task instances that shows only 1"), "{error}");
}

/// It says the same of every window.
#[tokio::test]
async fn a_server_that_passes_over_filters_is_given_up() {
    let server = airflow_of("2.11").await;
    let row =
        json!({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "execution_date": "2026-11-02T00:00:00Z"});
    let body = json!({"task_instances": vec![row; 100], "total_entries": 200}).to_string();
    let list = path("/api/v1/dags/d/dagRuns/~/taskInstances");
    Mock::given(list).respond_with(answer(200, body)).mount(&server).await;
    let airflow = provider(&server.uri());
    let scope = TaskRunScope::Pipeline { pipeline: "d".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let mut next = None;
    let error = loop {
        match airflow.task_runs(&scope, seen(), next.as_ref()).await {
            Ok(page) => next = Some(page.next.expect("there is always another window")),
            Err(error) => break error,
        }
        assert!(airflow.requests() < 1000, "no end in sight");
    };
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}
