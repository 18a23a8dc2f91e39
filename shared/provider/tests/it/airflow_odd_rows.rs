//! Rows with fields of any other type, size or encoding: each costs that field, or at most that row, and is
//! named. Bodies recorded from three releases are damaged field by field, in every row.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contract::events::{Event, MAX_CONF_SIZE, MAX_CONF_VALUES, MAX_NAMED_UNREADABLE};
use contract::state::RunState;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::Index;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use provider::{Provider, RunScope, TaskRunScope, UnreadableRows};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wiremock::matchers::{path, path_regex};
use wiremock::{Mock, MockServer};

use crate::airflow_server::{observation, provider, recorded, response, start_airflow, time};

/// How many damaged rows a page has: all of them are named.
const DAMAGED_PER_PAGE: usize = MAX_NAMED_UNREADABLE;

/// A list, its recorded bodies, and the fields that identify a row.
#[derive(Clone, Copy, Debug)]
struct RecordedList {
    name: &'static str,
    bodies: &'static [&'static str],
    ids: &'static [&'static str],
}

const DAGS: RecordedList =
    RecordedList { name: "dags", bodies: &["dags.json", "scenario_dags.json"], ids: &["dag_id"] };
const DAG_RUNS: RecordedList = RecordedList {
    name: "dag_runs",
    bodies: &["dag_runs.json", "scenario_dag_runs.json"],
    ids: &["dag_id", "dag_run_id"],
};
const TASK_INSTANCES: RecordedList = RecordedList {
    name: "task_instances",
    bodies: &[
        "task_instances_outcomes.json",
        "task_instances_waits.json",
        "task_instances_daily_sales.json",
        "scenario_task_instances.json",
    ],
    ids: &["dag_id", "dag_run_id", "task_id", "map_index"],
};

/// Texts of JSON that a field may have instead of its own; none for a missing field.
fn odd_values() -> Vec<Option<String>> {
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let huge = format!("\"{}\"", "x".repeat(70_000));
    let values = [
        "null",
        "true",
        "7",
        "-1",
        "-5.5",
        "1e400",
        "12345678901234567890123",
        "\"\"",
        "\"text\"",
        "[]",
        "{}",
        "[null]",
        "[7,\"a\"]",
        "[{\"name\":null}]",
        "{\"a\":[null]}",
        "\"2026-01-01T00:00:00\"",
        "\"9999999-01-01T00:00:00Z\"",
        "\"a \\ud800 b\"",
        "\"a \\u0000 b\"",
        "{\"a\":\"\\udfff\"}",
        "[\"\\u0000\"]",
        "{\"\\ud800\":1e999}",
        &deep,
        &huge,
    ];
    values.map(|value| Some(value.to_owned())).into_iter().chain([None]).collect()
}

/// The rows of a release, one of each set of fields; with `ODD_ROWS=all` one of each set of fields that are
/// not null.
fn recorded_rows(release: &str, list: RecordedList) -> Vec<Map<String, Value>> {
    let mut shapes = BTreeSet::new();
    let all = std::env::var("ODD_ROWS").is_ok_and(|rows| rows == "all");
    let bodies = list.bodies.iter().map(|body| serde_json::from_str(&recorded(release, body)).unwrap());
    let rows = bodies.flat_map(|mut body: Value| body[list.name].as_array_mut().map(std::mem::take).unwrap());
    let rows = rows.map(|row| row.as_object().unwrap().clone());
    rows.filter(|row| {
        let fields = row.iter().filter(|(_, value)| !all || !value.is_null());
        shapes.insert(fields.map(|(name, _)| name.clone()).collect::<Vec<_>>())
    })
    .collect()
}

/// A field, and the text that it has instead of its own.
type Damage<'a> = (&'a String, Option<&'a str>);

/// The row as JSON, with other texts in place of some fields.
fn damaged_row(row: &Map<String, Value>, damages: &[Damage<'_>]) -> String {
    let fields = row.iter().filter_map(|(name, value)| {
        let value = match damages.iter().find(|(field, _)| *field == name) {
            Some((_, odd)) => odd.as_deref()?.to_owned(),
            None => value.to_string(),
        };
        Some(format!("{}:{value}", json!(name)))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A server whose lists have the body that was set last.
struct OddServer {
    server: MockServer,
    body: Arc<Mutex<String>>,
    list: RecordedList,
}

impl OddServer {
    async fn start(release: &str, list: RecordedList) -> Self {
        let server = start_airflow(release).await;
        let body = Arc::new(Mutex::new(String::new()));
        let current = Arc::clone(&body);
        let respond = move |_: &wiremock::Request| response(200, current.lock().unwrap().clone());
        Mock::given(path_regex("/dags|/dagRuns|/taskInstances")).respond_with(respond).mount(&server).await;
        Self { server, body, list }
    }

    /// Reads a page of these rows; returns the events as JSON by subject, and what was unreadable.
    async fn read(&self, airflow: &dyn Provider, rows: &[String]) -> (Map<String, Value>, UnreadableRows) {
        let list = self.list.name;
        let body = format!("{{\"{list}\":[{}],\"total_entries\":{}}}", rows.join(","), rows.len());
        *self.body.lock().unwrap() = body;
        let since = time("2026-11-01T00:00:00Z");
        match list {
            "dags" => {
                let page = airflow.pipelines(observation(), None).await.unwrap();
                (by_subject(&page.items), page.unreadable)
            }
            "dag_runs" => {
                let page = airflow.runs(&RunScope::ChangedSince(since), observation(), None).await.unwrap();
                (by_subject(&page.items), page.unreadable)
            }
            _ => {
                let scope = TaskRunScope::ChangedSince(since);
                let page = airflow.task_runs(&scope, observation(), None).await.unwrap();
                (by_subject(&page.items), page.unreadable)
            }
        }
    }
}

fn by_subject<E: Event + Serialize>(events: &[E]) -> Map<String, Value> {
    events.iter().map(|event| (event.subject().to_string(), json!(event))).collect()
}

/// Damages every field of a row in turn with every odd value, and reads the damaged rows beside an intact
/// one.
async fn damage_every_field(server: &OddServer, row: &Map<String, Value>) {
    let airflow = provider(&server.server.uri());
    let odd_values = odd_values();
    let damages = row.keys().flat_map(|field| odd_values.iter().map(move |odd| [(field, odd.as_deref())]));
    let damages: Vec<_> = damages.collect();
    for page in damages.chunks(DAMAGED_PER_PAGE) {
        damage_page(server, airflow.as_ref(), row, page).await;
    }
}

/// Reads a page of damaged rows beside an intact one, and the same page of intact rows.
async fn damage_page<'a>(
    server: &OddServer,
    airflow: &dyn Provider,
    row: &Map<String, Value>,
    page: &[impl AsRef<[Damage<'a>]>],
) {
    let witness = json!(row).to_string();
    let id_field = server.list.ids[server.list.ids.len().min(3) - 1];
    let intact = |index: usize| {
        let mut row = row.clone();
        row.insert(id_field.to_owned(), format!("damaged {index}").into());
        row
    };
    let intact: Vec<_> = (0..page.len()).map(intact).collect();
    let damaged = intact.iter().zip(page).map(|(row, damages)| damaged_row(row, damages.as_ref()));
    let damaged: Vec<_> = damaged.chain([witness.clone()]).collect();
    let intact: Vec<_> = intact.iter().map(|row| json!(row).to_string()).chain([witness]).collect();
    let (expected, unreadable) = server.read(airflow, &intact).await;
    assert_eq!((expected.len(), unreadable.count), (page.len() + 1, 0));
    let (found, unreadable) = server.read(airflow, &damaged).await;
    let damages: Vec<_> = page.iter().flat_map(|damages| damages.as_ref()).copied().collect();
    check_page(server.list, &damages, &expected, &found, &unreadable);
}

fn check_page(
    list: RecordedList,
    page: &[Damage<'_>],
    expected: &Map<String, Value>,
    found: &Map<String, Value>,
    unreadable: &UnreadableRows,
) {
    let names: Vec<_> = page.iter().map(|(field, _)| field.as_str()).collect();
    let intact = expected.iter().filter(|(id, event)| found.get(*id) == Some(event)).count();
    assert!(intact > 0, "the intact row beside damaged {names:?}");
    let missing = expected.keys().filter(|id| !found.contains_key(*id)).count() as u64;
    // A row with another, readable id is another row.
    let renamed = found.keys().filter(|id| !expected.contains_key(*id)).count() as u64;
    assert_eq!(missing, unreadable.lost + renamed, "{names:?} {:?}", unreadable.entries);
    let damaged_ids = names.iter().filter(|name| list.ids.contains(*name)).count() as u64;
    assert!(missing <= damaged_ids, "only ids cost a row: {names:?} {:?}", unreadable.entries);
    assert!(unreadable.count <= page.len() as u64);
    assert_eq!(unreadable.entries.len() as u64, unreadable.count);
    for entry in &unreadable.entries {
        assert!(entry.reason.chars().count() <= 301 && !entry.reason.contains("xxx"), "{entry:?}");
        assert!(names.iter().any(|name| entry.reason.contains(*name)), "{names:?}: {entry:?}");
    }
}

#[tokio::test]
async fn an_unreadable_field_loses_only_that_field_or_row() {
    for release in ["2.11", "3.1", "3.3"] {
        for list in [DAGS, DAG_RUNS, TASK_INSTANCES] {
            let server = OddServer::start(release, list).await;
            for row in recorded_rows(release, list) {
                damage_every_field(&server, &row).await;
            }
        }
    }
}

/// Up to four odd values in each of many rows, for as many minutes as `ODD_MINUTES` says, or for a moment.
/// Ids are left as they are: rows that become the same row would be counted once.
#[tokio::test]
async fn many_unreadable_fields_lose_only_those_fields() {
    let minutes = std::env::var("ODD_MINUTES").map_or(0, |minutes| minutes.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut runner, odd_values) = (TestRunner::default(), odd_values());
    let choices = vec(vec((any::<Index>(), any::<Index>()), 1..5), DAMAGED_PER_PAGE);
    loop {
        for release in ["2.11", "3.1", "3.3"] {
            for list in [DAGS, DAG_RUNS, TASK_INSTANCES] {
                let server = OddServer::start(release, list).await;
                for row in recorded_rows(release, list) {
                    let choices = choices.new_tree(&mut runner).unwrap().current();
                    damage_fields(&server, &row, &choices, &odd_values).await;
                }
            }
        }
        if Instant::now() >= until {
            return;
        }
    }
}

/// Reads a page of rows with the chosen fields and odd values.
async fn damage_fields(
    server: &OddServer,
    row: &Map<String, Value>,
    choices: &[Vec<(Index, Index)>],
    odd_values: &[Option<String>],
) {
    let is_id = |field: &&String| server.list.ids.contains(&field.as_str());
    let fields: Vec<&String> = row.keys().filter(|field| !is_id(field)).collect();
    let damage = |(field, odd): &(Index, Index)| (*field.get(&fields), odd.get(odd_values).as_deref());
    let page: Vec<Vec<_>> = choices.iter().map(|damages| damages.iter().map(damage).collect()).collect();
    damage_page(server, provider(&server.server.uri()).as_ref(), row, &page).await;
}

/// A task that cannot be read is missing from its graph, and named.
#[tokio::test]
async fn an_unreadable_task_loses_only_that_task() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        let mut body: Value = serde_json::from_str(&recorded(release, "tasks_outcomes.json")).unwrap();
        let tasks = body["tasks"].as_array_mut().unwrap();
        tasks[0]["task_id"] = json!(7);
        tasks[1]["class_ref"] = json!(["odd"]);
        tasks[1]["downstream_task_ids"] = json!(["kept", null]);
        let (damaged, total) = (tasks[1]["task_id"].clone(), tasks.len());
        let at = format!("/api/{api}/dags/outcomes/tasks");
        Mock::given(path(at)).respond_with(response(200, body.to_string())).mount(&server).await;
        let graph = provider(&server.uri()).tasks("outcomes").await.unwrap();
        assert_eq!(graph.value.len(), total - 1);
        let node = graph.value.iter().find(|node| json!(node.task_id) == damaged).unwrap();
        assert_eq!(node.downstream, ["kept"]);
        let reasons: Vec<_> = graph.unreadable.entries.iter().map(|entry| entry.reason.as_str()).collect();
        let second = format!(
            "task {}: downstream_task_ids has an item that cannot be read",
            damaged.as_str().unwrap()
        );
        assert_eq!(reasons, ["task 7: task_id is no text", second.as_str()]);
        assert!(graph.unreadable.entries.iter().all(|entry| entry.id == "outcomes"));
    }
}

#[tokio::test]
async fn a_row_without_its_ids_is_named_as_far_as_they_are_known() {
    let server = start_airflow("3.3").await;
    let body =
        r#"{"dags": [7, {"name": "no id"}, {"dag_id": "a\u0000b"}, {"dag_id": "good"}], "total_entries": 4}"#;
    Mock::given(path("/api/v2/dags")).respond_with(response(200, body)).mount(&server).await;
    let page = provider(&server.uri()).pipelines(observation(), None).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.external_id.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!((page.unreadable.count, page.unreadable.lost), (3, 3));
    let named: Vec<_> = page
        .unreadable
        .entries
        .iter()
        .map(|entry| format!("{} {}: {}", entry.what, entry.id, entry.reason))
        .collect();
    assert_eq!(
        named,
        [
            "pipeline ?: the row is no object",
            "pipeline ?: dag_id is missing",
            "pipeline a\u{fffd}b: dag_id has characters that cannot be stored",
        ]
    );
}

/// A list of millions of items is refused before they are collected.
#[tokio::test]
async fn a_list_longer_than_requested_is_rejected() {
    let server = start_airflow("3.3").await;
    let body = format!("{{\"dags\":[{}0],\"total_entries\":1}}", "0,".repeat(2_900_000));
    Mock::given(path("/api/v2/dags")).respond_with(response(200, body)).mount(&server).await;
    let error = provider(&server.uri()).pipelines(observation(), None).await.unwrap_err();
    assert!(error.to_string().contains("a list of more than 200 rows"), "{error}");
}

/// Neither `f64` nor 64 bits hold these.
#[tokio::test]
async fn numbers_in_a_conf_keep_their_digits() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        let conf =
            r#"{"big":12345678901234567890123,"exact":0.10000000000000000000001,"far":[1e+400,-1e-400]}"#;
        let run = format!(r#"{{"dag_id":"d","dag_run_id":"r","state":"success","conf":{conf}}}"#);
        let list = format!(r#"{{"dag_runs":[{run}],"total_entries":1}}"#);
        for (at, body) in [("~/dagRuns", list), ("d/dagRuns/r", run)] {
            let at = format!("/api/{api}/dags/{at}");
            Mock::given(path(at)).respond_with(response(200, body)).mount(&server).await;
        }
        let airflow = provider(&server.uri());
        let page = airflow.runs(&RunScope::Unfinished, observation(), None).await.unwrap();
        let single = airflow.run("d", "r", observation()).await.unwrap().unwrap();
        for run in [&page.items[0], &single.value] {
            assert_eq!(run.conf.get(), conf);
        }
        assert_eq!((page.unreadable.count, single.unreadable.count), (0, 0));
    }
}

/// The status of a run is never stale for its `conf`.
#[tokio::test]
async fn a_conf_that_cannot_be_carried_is_left_out() {
    let deep = "[".repeat(124) + &"]".repeat(124);
    let huge = |size: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(size));
    let numbers = format!("{{\"x\":[0{}]}}", ",0".repeat(MAX_CONF_VALUES));
    for (conf, reason) in [
        (format!("{{\"x\":{deep}}}"), "conf is nested too deep"),
        (r#"{"x":1e99999}"#.to_owned(), "conf has a number that is out of range"),
        (numbers, "conf has too many values"),
        (huge(MAX_CONF_SIZE), "conf is too large"),
        // Larger than a response may be without it.
        (huge(17_000_000), "conf is too large"),
    ] {
        let server = start_airflow("3.3").await;
        let run = format!(r#"{{"dag_id":"d","dag_run_id":"r","state":"success","conf":{conf}}}"#);
        let list = format!(r#"{{"dag_runs":[{run}],"total_entries":1}}"#);
        for (at, body) in [("~/dagRuns", list), ("d/dagRuns/r", run)] {
            let at = format!("/api/v2/dags/{at}");
            Mock::given(path(at)).respond_with(response(200, body)).mount(&server).await;
        }
        let airflow = provider(&server.uri());
        let page = airflow.runs(&RunScope::Unfinished, observation(), None).await.unwrap();
        let single = airflow.run("d", "r", observation()).await.unwrap().unwrap();
        for (run, unreadable) in [(&page.items[0], &page.unreadable), (&single.value, &single.unreadable)] {
            assert_eq!((run.status, run.conf.get()), (RunState::Success, "null"));
            assert_eq!((run.conf_bytes, run.truncated), (Some(conf.len() as u64), true));
            assert_eq!(unreadable.entries[0].reason, reason);
        }
    }
}
