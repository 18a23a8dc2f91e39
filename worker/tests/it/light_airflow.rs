//! An Airflow so light that it answers at once, for tests of schedules and of scale, where a real one would only show
//! its own limits: every path before `/api/v2` is a server of its own, and all hold the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

type Parameters = Query<BTreeMap<String, String>>;

/// What every server holds: so many DAGs, each with one ended run of one task, of which nothing changes.
#[derive(Clone)]
pub struct LightAirflow {
    pub url: String,
    dags: usize,
    /// How long a page of DAGs takes.
    pause: Duration,
    polls: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl LightAirflow {
    pub async fn start(dags: usize) -> Self {
        Self::slow(dags, Duration::ZERO).await
    }

    pub async fn slow(dags: usize, pause: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let light = Self { url, dags, pause, polls: Arc::default() };
        let router = Router::new()
            .route("/{server}/api/v2/version", get(async || Json(json!({"version": "3.1.8"}))))
            .route("/{server}/api/v2/dags", get(list))
            .route("/{server}/api/v2/dags/{dag}/tasks", get(async || Json(json!({"tasks": []}))))
            .route("/{server}/api/v2/dags/{dag}/dagRuns", get(runs))
            .route("/{server}/api/v2/dags/{dag}/dagRuns/~/taskInstances", get(task_instances))
            .with_state(light.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        light
    }

    /// How often each server was polled.
    pub fn polls(&self) -> BTreeMap<String, usize> {
        self.polls.lock().unwrap().clone()
    }
}

async fn list(
    State(light): State<LightAirflow>,
    Path(server): Path<String>,
    Query(asked): Parameters,
) -> Json<Value> {
    let limit: usize = asked["limit"].parse().unwrap();
    tokio::time::sleep(light.pause).await;
    // Every poll asks for the first DAG alone once, to see the clock.
    if limit == 1 {
        *light.polls.lock().unwrap().entry(server).or_default() += 1;
    }
    let offset = asked.get("offset").map_or(0, |offset| offset.parse().unwrap());
    let dags: Vec<Value> = (offset..light.dags.min(offset + limit))
        .map(|number| json!({"dag_id": format!("dag_{number:04}"), "owners": ["ada"], "tags": []}))
        .collect();
    Json(json!({"dags": dags, "total_entries": light.dags}))
}

async fn runs(Path((_, dag)): Path<(String, String)>) -> Json<Value> {
    let run = json!({
        "dag_id": dag, "dag_run_id": "r", "state": "success", "run_type": "manual", "conf": {},
        "run_after": (chrono::Utc::now() - chrono::TimeDelta::days(1)).format("%Y-%m-%dT00:00:00Z").to_string(),
    });
    let runs = if dag == "~" { Vec::new() } else { vec![run] };
    Json(json!({"dag_runs": runs, "total_entries": runs.len()}))
}

async fn task_instances(Path((_, dag)): Path<(String, String)>) -> Json<Value> {
    let task = json!({"dag_id": dag, "dag_run_id": "r", "task_id": "t", "state": "success"});
    let tasks = if dag == "~" { Vec::new() } else { vec![task] };
    Json(json!({"task_instances": tasks, "total_entries": tasks.len()}))
}
