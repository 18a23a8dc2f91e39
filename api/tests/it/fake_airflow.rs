//! An Airflow as far as triggering goes, which can be told to misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// What becomes of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Answers with this code, and makes nothing.
    Refusing(u16),
    /// Answers with this code and body, and makes nothing.
    Saying(u16, &'static str),
    /// Makes the run, and the connection breaks before the answer.
    MakingAndBreaking,
    /// The connection breaks, and nothing was made.
    Breaking,
    /// Makes the run and answers 500.
    MakingAndFailing,
    /// Answers nothing after the login, not even questions.
    Mute,
    /// Takes two seconds for it.
    Slow,
}

#[derive(Clone)]
pub struct FakeAirflow {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    mood: Mood,
    runs: BTreeMap<String, Value>,
    posts: usize,
}

impl FakeAirflow {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Mutex::new(Inner { mood: Mood::Good, runs: BTreeMap::new(), posts: 0 }));
        let fake = Self { url, inner };
        let router = Router::new()
            .route("/api/v2/version", get(async || Json(json!({"version": "3.1.8"}))))
            .route("/api/v2/dags", get(async || Json(json!({"dags": [], "total_entries": 0}))))
            .route("/auth/token", post(log_in))
            .route("/api/v2/dags/{dag}/dagRuns", post(trigger))
            .route("/api/v2/dags/{dag}/dagRuns/{run}", get(show))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn set_mood(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    /// The runs it has, and how often it was asked for one.
    pub fn runs(&self) -> Vec<Value> {
        self.inner.lock().unwrap().runs.values().cloned().collect()
    }

    pub fn posts(&self) -> usize {
        self.inner.lock().unwrap().posts
    }

    pub fn has(&self, run: &str, note: &str) {
        let made = body_of("p", &json!({"dag_run_id": run, "note": note, "conf": {}}));
        self.inner.lock().unwrap().runs.insert(run.to_owned(), made);
    }
}

async fn log_in(Json(login): Json<Value>) -> Response {
    match login["password"].as_str() {
        Some("right") => (StatusCode::CREATED, Json(json!({"access_token": "x.y.z"}))).into_response(),
        _ => (StatusCode::UNAUTHORIZED, Json(json!({"detail": "Invalid credentials"}))).into_response(),
    }
}

fn body_of(dag: &str, asked: &Value) -> Value {
    json!({
        "dag_id": dag, "dag_run_id": asked["dag_run_id"], "state": "queued", "run_type": "manual",
        "logical_date": asked["logical_date"], "run_after": "2026-01-01T05:00:00Z",
        "queued_at": "2026-01-01T05:00:00Z", "conf": asked["conf"], "note": asked["note"],
    })
}

async fn trigger(
    State(fake): State<FakeAirflow>,
    Path(dag): Path<String>,
    Json(asked): Json<Value>,
) -> Response {
    let mood = fake.inner.lock().unwrap().mood;
    if mood == Mood::Slow {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let run = asked["dag_run_id"].as_str().unwrap().to_owned();
    let made = {
        let mut inner = fake.inner.lock().unwrap();
        inner.posts += 1;
        let makes =
            matches!(mood, Mood::Good | Mood::Slow | Mood::MakingAndBreaking | Mood::MakingAndFailing);
        if makes && inner.runs.contains_key(&run) {
            let detail = json!({"detail": {"reason": "Unique constraint violation", "statement": "INSERT INTO dag_run"}});
            return (StatusCode::CONFLICT, Json(detail)).into_response();
        }
        let made = body_of(&dag, &asked);
        if makes {
            inner.runs.insert(run, made.clone());
        }
        made
    };
    match mood {
        Mood::Good | Mood::Slow => Json(made).into_response(),
        Mood::Refusing(code) => {
            (StatusCode::from_u16(code).unwrap(), Json(json!({"detail": "Not like this"}))).into_response()
        }
        Mood::Saying(code, said) => (StatusCode::from_u16(code).unwrap(), said).into_response(),
        Mood::MakingAndFailing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::MakingAndBreaking | Mood::Breaking | Mood::Mute => panic!("the connection breaks"),
    }
}

async fn show(State(fake): State<FakeAirflow>, Path((_, run)): Path<(String, String)>) -> Response {
    let (mood, found) = {
        let inner = fake.inner.lock().unwrap();
        (inner.mood, inner.runs.get(&run).cloned())
    };
    assert!(mood != Mood::Mute, "the connection breaks");
    match found {
        Some(run) => Json(run).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({"detail": "The DagRun was not found"}))).into_response(),
    }
}
