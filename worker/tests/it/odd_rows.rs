//! Rows with odd values, field by field, in syncs of recorded lists of three releases: whatever a row holds,
//! the rows beside it arrive in the same sync, nothing is deactivated or deleted, and the next sync heals
//! all.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, Uri};
use chrono::{TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::test_worker::TestWorker;

/// The rows of each kind, all of which are on one page with the witnesses.
const ROWS: usize = 90;
/// Texts of JSON that a field has instead of its own; an empty one removes the field.
const ODD: [&str; 9] = [
    "null",
    "7",
    "-5.5",
    "1e400",
    "12345678901234567890123",
    r#""a \ud800 b""#,
    r#""2026-01-01T00:00:00""#,
    r#"[null,{"a":"\u0000"}]"#,
    "",
];
/// Texts of which no id can be read: with another id it is another row.
const ODD_IDS: [&str; 3] = [r#""a \u0000 b""#, "[null]", r#"{"a":1}"#];

type Row = Map<String, Value>;

/// A kind of rows: their list, and a recorded row.
struct Kind {
    list: &'static str,
    recorded: Row,
}

/// A row of a list: the ids that lead to it, and its text.
#[derive(Clone)]
struct ListedRow {
    dag: String,
    run: String,
    text: String,
}

/// The content of a server.
#[derive(Clone, Default)]
struct Content {
    dags: Vec<ListedRow>,
    runs: Vec<ListedRow>,
    tasks: Vec<ListedRow>,
}

fn fixture(release: &str, name: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/provider/tests/fixtures");
    std::fs::read_to_string(format!("{directory}/airflow-{release}/{name}")).unwrap()
}

/// A recorded row, as of yesterday.
fn kind(release: &str, list: &'static str, name: &str) -> Kind {
    let mut body: Value = serde_json::from_str(&fixture(release, name)).unwrap();
    let mut recorded: Row = body[list][0].as_object_mut().map(std::mem::take).unwrap();
    let yesterday = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    for value in recorded.values_mut() {
        if let Value::String(text) = value
            && text.starts_with("2026-")
        {
            text.replace_range(..10, &yesterday);
        }
    }
    Kind { list, recorded }
}

/// The row with other ids, as text, and with another text in place of one field.
fn row(kind: &Kind, ids: &[(&str, &str)], damage: Option<(&str, &str)>) -> String {
    let mut row = kind.recorded.clone();
    for (name, id) in ids {
        row.insert((*name).to_owned(), json!(id));
    }
    if kind.list != "dags" {
        row.insert("state".to_owned(), json!("success"));
    }
    let fields = row.iter().filter_map(|(name, value)| match damage {
        Some((field, odd)) if field == name => (!odd.is_empty()).then(|| format!("{}:{odd}", json!(name))),
        _ => Some(format!("{}:{value}", json!(name))),
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// Every field of a kind with every odd text.
fn damages(kind: &Kind) -> Vec<(&str, &'static str)> {
    let is_id = |name: &str| ["dag_id", "dag_run_id", "task_id", "map_index"].contains(&name);
    let odd = |name: &str| if is_id(name) { &ODD_IDS[..] } else { &ODD[..] };
    kind.recorded.keys().flat_map(|name| odd(name).iter().map(move |odd| (name.as_str(), *odd))).collect()
}

/// The rows of all kinds; those of which there is a damage have it. Each of the witnesses is a run.
fn content(kinds: &[Kind; 3], damages: [&[(&str, &str)]; 3], witnesses: usize) -> Content {
    let [dag_kind, run_kind, task_kind] = kinds;
    let mut content = Content::default();
    for number in 0..ROWS {
        let damage = |kind: usize| damages[kind].get(number).copied();
        let (dag, run, task) = (format!("d{number}"), format!("r{number}"), format!("t{number}"));
        let listed =
            |dag: &str, run: &str, text| ListedRow { dag: dag.to_owned(), run: run.to_owned(), text };
        content.dags.push(listed(&dag, "", row(dag_kind, &[("dag_id", &dag)], damage(0))));
        let ids = [("dag_id", "d0"), ("dag_run_id", run.as_str())];
        content.runs.push(listed("d0", &run, row(run_kind, &ids, damage(1))));
        let ids = [("dag_id", "d0"), ("dag_run_id", "r0"), ("task_id", task.as_str())];
        content.tasks.push(listed("d0", "r0", row(task_kind, &ids, damage(2))));
    }
    let (dag, ids) = ("witness".to_owned(), [("dag_id", "witness")]);
    content.dags.push(ListedRow { dag, run: String::new(), text: row(dag_kind, &ids, None) });
    for number in 0..witnesses {
        let (dag, run) = ("witness".to_owned(), format!("w{number}"));
        let text = row(run_kind, &[("dag_id", "witness"), ("dag_run_id", &run)], None);
        content.runs.push(ListedRow { dag, run, text });
    }
    content
}

/// Starts a server of a release with this content; returns its address.
async fn serve(release: &'static str, content: Arc<Mutex<Content>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let respond = move |uri: Uri| {
        let (status, body) = answer(release, &content.lock().unwrap(), &uri);
        async move { (status, [("content-type", "application/json")], body) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(respond)).await });
    url
}

fn answer(release: &str, content: &Content, uri: &Uri) -> (StatusCode, String) {
    let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
    let api = if release.starts_with('2') { "v1" } else { "v2" };
    let is_unfinished = uri.query().is_some_and(|query| query.contains("state="));
    let ["api", version, below @ ..] = &segments[..] else {
        return (StatusCode::NOT_FOUND, String::new());
    };
    let is_of = |row: &&ListedRow, dag: &str, run: &str| {
        ["~", &row.dag].contains(&dag) && ["~", &row.run].contains(&run)
    };
    let found = |rows: &[ListedRow], dag: &str, run: &str| {
        Vec::from_iter(rows.iter().filter(|row| is_of(row, dag, run)).map(|row| row.text.clone()))
    };
    let body = match below {
        _ if *version != api => return (StatusCode::NOT_FOUND, String::new()),
        ["version"] => fixture(release, "version.json"),
        ["dags"] => list("dags", &found(&content.dags, "~", "~")),
        ["dags", _, "tasks"] => list("tasks", &[]),
        ["dags", dag] | ["dags", dag, "details"] => found(&content.dags, dag, "~").concat(),
        ["dags", _, "dagRuns"] if is_unfinished => list("dag_runs", &[]),
        ["dags", dag, "dagRuns"] => list("dag_runs", &found(&content.runs, dag, "~")),
        ["dags", dag, "dagRuns", run] => found(&content.runs, dag, run).concat(),
        ["dags", dag, "dagRuns", run, _] => list("task_instances", &found(&content.tasks, dag, run)),
        _ => return (StatusCode::NOT_FOUND, String::new()),
    };
    (StatusCode::OK, body)
}

fn list(name: &str, rows: &[String]) -> String {
    format!("{{\"{name}\":[{}],\"total_entries\":{}}}", rows.join(","), rows.len())
}

const GONE: &str = "select (select count(*) from pipelines where not is_active or deleted_at is not null)
    + (select count(*) from runs where deleted_at is not null)
    + (select count(*) from task_runs where deleted_at is not null)";
const WITNESSES: &str = "select count(*) from runs where external_id like 'w%' and status = 'success'";

/// The rows of the read model but for the witnesses, without what each observation changes.
async fn stored_rows(test: &TestWorker) -> Vec<Value> {
    sqlx::query_scalar(
        "select row - '{version,observed_at,fingerprint,log_offset}'::text[] from (
             select to_jsonb(p) as row from pipelines p union all select to_jsonb(r) from runs r
             union all select to_jsonb(t) from task_runs t) rows
         where row->>'external_id' not like 'w%' order by row->>'id'",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap()
}

async fn damage_every_field(release: &'static str) {
    let kinds = [
        kind(release, "dags", "dags.json"),
        kind(release, "dag_runs", "dag_runs.json"),
        kind(release, "task_instances", "task_instances_outcomes.json"),
    ];
    let served = Arc::new(Mutex::new(content(&kinds, [&[]; 3], 0)));
    let test = TestWorker::start().await;
    test.set_base_url(&serve(release, Arc::clone(&served)).await).await;
    let report = test.run_sync(false).await.unwrap().report;
    assert_eq!((report.unreadable_count, report.runs_seen > 0), (0, true), "{release}: {report:?}");
    let before = stored_rows(&test).await;
    assert_eq!(before.len(), 3 * ROWS, "{release}");
    let damages = kinds.each_ref().map(damages);
    let batches = damages.iter().map(|damages| damages.len().div_ceil(ROWS)).max().unwrap();
    for batch in 0..batches {
        let of_batch = damages.each_ref().map(|damages| damages.chunks(ROWS).nth(batch).unwrap_or_default());
        *served.lock().unwrap() = content(&kinds, of_batch, batch + 1);
        let report = test.run_sync(false).await.unwrap().report;
        assert!(report.unreadable_count > 0, "{release} {batch}: the rows are named");
        assert_eq!(test.number(WITNESSES).await, batch as i64 + 1, "{release} {batch}");
        assert_eq!(test.number(GONE).await, 0, "{release} {batch}: {report:?}");
        *served.lock().unwrap() = content(&kinds, [&[]; 3], batch + 1);
        let report = test.run_sync(false).await.unwrap().report;
        assert_eq!(report.unreadable_count, 0, "{release} {batch}: {report:?}");
        assert_eq!(stored_rows(&test).await, before, "{release} {batch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_delay_no_other_row_and_heal_in_airflow_2_11() {
    damage_every_field("2.11").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_delay_no_other_row_and_heal_in_airflow_3_1() {
    damage_every_field("3.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_delay_no_other_row_and_heal_in_airflow_3_3() {
    damage_every_field("3.3").await;
}
