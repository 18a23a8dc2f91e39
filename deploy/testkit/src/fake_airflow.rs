//! A fake Airflow with the REST API v2, for tests of triggers, schedules and scale: it answers at once, never
//! runs anything, and fails triggers in the ways that a test chooses. Besides `/api/v2`, every path
//! `/{server}/api/v2` is a server of its own; all of them have the same content, and polls are counted for
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

type Parameters = BTreeMap<String, String>;

/// How the server reacts to a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerBehavior {
    /// Creates the run and returns it.
    Create,
    /// Creates the run after two seconds.
    CreateSlowly,
    /// Creates the run, and breaks the connection instead of a response.
    CreateAndDisconnect,
    /// Creates the run, and responds with 500.
    CreateAndFail,
    /// Creates the run, and never responds.
    CreateAndHang,
    /// Breaks the connection without creating a run.
    Disconnect,
    /// Breaks the connection without creating a run, and also for reads of single runs.
    DisconnectAlways,
    /// Responds with this status and a usual error body.
    Reject(u16),
    /// Responds with this status and body.
    RejectWith(u16, &'static str),
}

impl TriggerBehavior {
    fn creates_run(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::CreateSlowly
                | Self::CreateAndDisconnect
                | Self::CreateAndFail
                | Self::CreateAndHang
        )
    }
}

/// The running server. The password `right` logs in, for any user.
#[derive(Clone)]
pub struct FakeAirflow {
    pub url: String,
    dags: usize,
    page_delay: Duration,
    state: Arc<Mutex<FakeAirflowState>>,
}

/// A resource that can be refused, or left without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FakeList {
    Dags,
    Tasks,
    Details,
    Runs,
    /// The runs of one DAG.
    Histories,
    TaskInstances,
}

/// How the server reacts to requests of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListBehavior {
    Answer,
    /// Responds with this status and a usual error body.
    Reject(u16),
    Hang,
}

struct FakeAirflowState {
    behavior: TriggerBehavior,
    lists: BTreeMap<FakeList, ListBehavior>,
    /// Further runs of the first DAG, which have just changed.
    changed_runs: Vec<&'static str>,
    /// Runs that the server cannot return.
    failing_runs: BTreeSet<&'static str>,
    triggered_runs: BTreeMap<String, Value>,
    trigger_bodies: Vec<String>,
    polls: BTreeMap<String, usize>,
}

impl FakeAirflow {
    /// A server with this many DAGs, each with one finished run of one task, none of which ever changes.
    pub async fn start(dags: usize) -> Self {
        Self::start_slow(dags, Duration::ZERO).await
    }

    /// The same server, whose pages of DAGs take this long.
    pub async fn start_slow(dags: usize, page_delay: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = FakeAirflowState {
            behavior: TriggerBehavior::Create,
            lists: BTreeMap::new(),
            changed_runs: Vec::new(),
            failing_runs: BTreeSet::new(),
            triggered_runs: BTreeMap::new(),
            trigger_bodies: Vec::new(),
            polls: BTreeMap::new(),
        };
        let fake = Self { url, dags, page_delay, state: Arc::new(Mutex::new(state)) };
        let api = Router::new()
            .route("/version", get(async || Json(json!({"version": "3.1.8"}))))
            .route("/dags", get(list_dags))
            .route("/dags/{dag}/tasks", get(list_tasks))
            .route("/dags/{dag}/details", get(get_details))
            .route("/dags/{dag}/dagRuns", get(list_runs).post(trigger))
            .route("/dags/{dag}/dagRuns/~/taskInstances", get(list_task_instances))
            .route("/dags/{dag}/dagRuns/{run}", get(get_run));
        let router = Router::new()
            .route("/auth/token", post(log_in))
            .nest("/api/v2", api.clone())
            .nest("/{server}/api/v2", api)
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn set_behavior(&self, behavior: TriggerBehavior) {
        self.state.lock().unwrap().behavior = behavior;
    }

    pub fn set_list_behavior(&self, list: FakeList, behavior: ListBehavior) {
        self.state.lock().unwrap().lists.insert(list, behavior);
    }

    /// Adds a run of the first DAG to its history and to the list of changed runs.
    pub fn add_changed_run(&self, run: &'static str) {
        self.state.lock().unwrap().changed_runs.push(run);
    }

    /// Sets the runs that fail every page that they are on with 500.
    pub fn set_failing_runs(&self, runs: &[&'static str]) {
        self.state.lock().unwrap().failing_runs = runs.iter().copied().collect();
    }

    /// The runs of a list.
    fn runs_of(&self, dag: &str, query: &Parameters) -> Vec<(String, &'static str)> {
        if query.contains_key("state") {
            return Vec::new();
        }
        let mut runs: Vec<_> = if dag == "~" { Vec::new() } else { vec![(dag.to_owned(), "r")] };
        let first = dag_name(0);
        if ["~", &first].contains(&dag) {
            let state = self.state.lock().unwrap();
            runs.extend(state.changed_runs.iter().map(|run| (first.clone(), *run)));
        }
        runs
    }

    /// The list, unless it is to be refused or to hang.
    async fn answer(&self, list: FakeList, body: Value) -> Response {
        let behavior = self.state.lock().unwrap().lists.get(&list).copied();
        match behavior.unwrap_or(ListBehavior::Answer) {
            ListBehavior::Answer => Json(body).into_response(),
            ListBehavior::Reject(code) => {
                (StatusCode::from_u16(code).unwrap(), Json(json!({"detail": "Forbidden"}))).into_response()
            }
            ListBehavior::Hang => std::future::pending().await,
        }
    }

    pub fn triggered_runs(&self) -> Vec<Value> {
        self.state.lock().unwrap().triggered_runs.values().cloned().collect()
    }

    pub fn trigger_requests(&self) -> usize {
        self.state.lock().unwrap().trigger_bodies.len()
    }

    /// The bodies of all triggers, as they were sent.
    pub fn trigger_bodies(&self) -> Vec<String> {
        self.state.lock().unwrap().trigger_bodies.clone()
    }

    /// Adds a run that was triggered by other means.
    pub fn add_run(&self, run: &str, note: &str) {
        let body = run_body("p", &json!({"dag_run_id": run, "note": note, "conf": {}}));
        self.state.lock().unwrap().triggered_runs.insert(run.to_owned(), body);
    }

    /// How often each server was polled.
    pub fn polls(&self) -> BTreeMap<String, usize> {
        self.state.lock().unwrap().polls.clone()
    }
}

async fn log_in(Json(login): Json<Value>) -> Response {
    match login["password"].as_str() {
        Some("right") => (StatusCode::CREATED, Json(json!({"access_token": "x.y.z"}))).into_response(),
        _ => (StatusCode::UNAUTHORIZED, Json(json!({"detail": "Invalid credentials"}))).into_response(),
    }
}

async fn list_dags(
    State(fake): State<FakeAirflow>,
    Path(path): Path<Parameters>,
    Query(query): Query<Parameters>,
) -> Response {
    let (limit, offset) = page_of(&query);
    tokio::time::sleep(fake.page_delay).await;
    // Every poll begins with a page of one DAG, for the server's clock.
    if limit == 1 {
        let server = path.get("server").cloned().unwrap_or_default();
        *fake.state.lock().unwrap().polls.entry(server).or_default() += 1;
    }
    let dags: Vec<Value> = (offset..fake.dags.min(offset + limit))
        .map(|number| json!({"dag_id": dag_name(number), "owners": ["ada"], "tags": []}))
        .collect();
    fake.answer(FakeList::Dags, json!({"dags": dags, "total_entries": fake.dags})).await
}

fn dag_name(number: usize) -> String {
    format!("dag_{number:04}")
}

/// The limit and the offset of a request.
fn page_of(query: &Parameters) -> (usize, usize) {
    let number = |name: &str, default| query.get(name).map_or(default, |value| value.parse().unwrap());
    (number("limit", 100), number("offset", 0))
}

async fn list_tasks(State(fake): State<FakeAirflow>) -> Response {
    fake.answer(FakeList::Tasks, json!({"tasks": []})).await
}

/// The details of a DAG, which has a parameter of each release's form.
async fn get_details(State(fake): State<FakeAirflow>, Path(path): Path<Parameters>) -> Response {
    let params = json!({
        "day": {
            "value": "2026-01-01", "description": "The day to load", "source": "dag",
            "schema": {"type": "string", "format": "date"},
        },
        "db_password": {"value": "canary", "schema": {"type": "string", "examples": ["canary"]}},
        "limit": {
            "__class": "airflow.sdk.definitions.param.Param", "value": 10, "description": "How many rows",
            "schema": {"type": "integer", "minimum": 1},
        },
    });
    fake.answer(FakeList::Details, json!({"dag_id": path["dag"], "params": params})).await
}

async fn list_runs(
    State(fake): State<FakeAirflow>,
    Path(path): Path<Parameters>,
    Query(query): Query<Parameters>,
) -> Response {
    let runs = fake.runs_of(&path["dag"], &query);
    let total = runs.len();
    let (limit, offset) = page_of(&query);
    let page: Vec<_> = runs.into_iter().skip(offset).take(limit).collect();
    if page.iter().any(|(_, run)| fake.state.lock().unwrap().failing_runs.contains(run)) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let yesterday = chrono::Utc::now() - chrono::TimeDelta::days(1);
    let due_at = yesterday.format("%Y-%m-%dT00:00:00Z").to_string();
    let run = |(dag, run)| {
        json!({
            "dag_id": dag, "dag_run_id": run, "state": "success", "run_type": "manual", "conf": {},
            "run_after": due_at,
        })
    };
    let page: Vec<_> = page.into_iter().map(run).collect();
    let list = if path["dag"] == "~" { FakeList::Runs } else { FakeList::Histories };
    fake.answer(list, json!({"dag_runs": page, "total_entries": total})).await
}

async fn list_task_instances(State(fake): State<FakeAirflow>, Path(path): Path<Parameters>) -> Response {
    let task = json!({"dag_id": path["dag"], "dag_run_id": "r", "task_id": "t", "state": "success"});
    let tasks = if path["dag"] == "~" { Vec::new() } else { vec![task] };
    let body = json!({"task_instances": tasks, "total_entries": tasks.len()});
    fake.answer(FakeList::TaskInstances, body).await
}

/// Returns the run that the request describes.
fn run_body(dag: &str, request: &Value) -> Value {
    json!({
        "dag_id": dag, "dag_run_id": request["dag_run_id"], "state": "queued", "run_type": "manual",
        "logical_date": request["logical_date"], "run_after": "2026-01-01T05:00:00Z",
        "queued_at": "2026-01-01T05:00:00Z", "conf": request["conf"], "note": request["note"],
    })
}

async fn trigger(State(fake): State<FakeAirflow>, Path(path): Path<Parameters>, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let behavior = fake.state.lock().unwrap().behavior;
    if behavior == TriggerBehavior::CreateSlowly {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let run = run_body(&path["dag"], &request);
    if !fake.record_trigger(behavior, body, &run) {
        let detail = json!({"reason": "Unique constraint violation", "statement": "INSERT INTO dag_run"});
        return (StatusCode::CONFLICT, Json(json!({ "detail": detail }))).into_response();
    }
    match behavior {
        TriggerBehavior::Create | TriggerBehavior::CreateSlowly => Json(run).into_response(),
        TriggerBehavior::Reject(code) => {
            (StatusCode::from_u16(code).unwrap(), Json(json!({"detail": "Not like this"}))).into_response()
        }
        TriggerBehavior::RejectWith(code, body) => {
            (StatusCode::from_u16(code).unwrap(), body).into_response()
        }
        TriggerBehavior::CreateAndFail => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        TriggerBehavior::CreateAndHang => std::future::pending().await,
        TriggerBehavior::CreateAndDisconnect
        | TriggerBehavior::Disconnect
        | TriggerBehavior::DisconnectAlways => panic!("the connection breaks"),
    }
}

impl FakeAirflow {
    /// Counts the request and stores the run if it is to be created. False if a run of this id exists.
    fn record_trigger(&self, behavior: TriggerBehavior, body: String, run: &Value) -> bool {
        let mut state = self.state.lock().unwrap();
        state.trigger_bodies.push(body);
        let id = run["dag_run_id"].as_str().unwrap();
        if !behavior.creates_run() {
            return true;
        }
        let is_new = !state.triggered_runs.contains_key(id);
        state.triggered_runs.entry(id.to_owned()).or_insert_with(|| run.clone());
        is_new
    }
}

async fn get_run(State(fake): State<FakeAirflow>, Path(path): Path<Parameters>) -> Response {
    if fake.state.lock().unwrap().failing_runs.contains(path["run"].as_str()) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let (behavior, run) = {
        let state = fake.state.lock().unwrap();
        (state.behavior, state.triggered_runs.get(&path["run"]).cloned())
    };
    assert!(behavior != TriggerBehavior::DisconnectAlways, "the connection breaks");
    match run {
        Some(run) => Json(run).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({"detail": "The DagRun was not found"}))).into_response(),
    }
}
