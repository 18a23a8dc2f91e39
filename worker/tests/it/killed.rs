//! SIGKILL at every step of a sync: a real worker, a real Airflow, and between them a proxy that delays a
//! request until the worker is dead. After each kill, one more poll makes the read model equal to the source,
//! and no sync is lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};
use sqlx::{Connection, PgConnection};
use testkit::WorkerProcess;
use tokio::sync::watch;

use crate::mirror::assert_mirrors;
use crate::test_worker::TestWorker;

/// Rows of a page: every list has several pages.
const PAGE_SIZE: usize = 4;

const TIMEOUT: Duration = Duration::from_secs(600);

/// Forwards requests with a smaller page size, and delays the request that a test chooses.
#[derive(Clone)]
struct DelayingProxy {
    url: String,
    airflow: String,
    client: reqwest::Client,
    hold: Arc<Mutex<Option<DelayedRequest>>>,
    held: watch::Sender<bool>,
}

/// The parts of the URL of the request to delay, and how many such requests are forwarded before.
type DelayedRequest = (&'static [&'static str], usize);

impl DelayingProxy {
    async fn start(airflow: &AirflowServer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            airflow: airflow.url.clone(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            hold: Arc::default(),
            held: watch::Sender::default(),
        };
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    fn hold(&self, parts: &'static [&'static str], after: usize) {
        self.held.send_replace(false);
        *self.hold.lock().unwrap() = Some((parts, after));
    }

    async fn wait_until_held(&self) {
        let mut held = self.held.subscribe();
        let held = held.wait_for(|held| *held);
        tokio::time::timeout(TIMEOUT, held).await.expect("the request comes").unwrap();
    }

    /// Forwards the delayed request, whose client is dead.
    fn release(&self) {
        *self.hold.lock().unwrap() = None;
        self.held.send_replace(false);
    }

    fn should_hold(&self, url: &str) -> bool {
        let mut hold = self.hold.lock().unwrap();
        match hold.as_mut() {
            Some((parts, after)) if parts.iter().all(|part| url.contains(part)) => {
                let now = *after == 0;
                *after = after.saturating_sub(1);
                now
            }
            _ => false,
        }
    }
}

async fn forward(State(proxy): State<DelayingProxy>, request: Request) -> Response {
    let url = request.uri().to_string();
    if proxy.should_hold(&url) {
        let mut held = proxy.held.subscribe();
        proxy.held.send_replace(true);
        let _ = held.wait_for(|held| !*held).await;
    }
    let url = format!("{}{}", proxy.airflow, url.replace("limit=100", &format!("limit={PAGE_SIZE}")));
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut request_to_airflow = proxy.client.request(parts.method, url).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            request_to_airflow = request_to_airflow.header(name, value);
        }
    }
    let Ok(response) = request_to_airflow.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, date) = (response.status(), response.headers().get("date").cloned());
    let body: Bytes = response.bytes().await.unwrap_or_default();
    (status, date.map(|date| [("date", date)]), body).into_response()
}

/// An Airflow that no other test uses, since its rows change.
async fn airflow() -> AirflowServer {
    let name = "airflow-changing".to_owned();
    let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
    let airflow = local::airflow_instance(&setup).await.unwrap();
    let seed = Seed { prefix: "changing".to_owned(), dags: 9, runs: 8, tasks: 2 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    airflow
}

/// Changes some runs and tasks of every pipeline in Airflow's database.
async fn change(metadata: &mut PgConnection, round: i64) {
    for statement in [
        "update dag_run set state = case state when 'success' then 'failed' else 'success' end,
         updated_at = now()
         where mod(id, 3) = mod($1, 3)",
        "update task_instance set state = case state when 'success' then 'failed' else 'success' end,
             try_number = try_number + 1, updated_at = now()
         where run_id in (select run_id from dag_run where mod(id, 5) = mod($1, 5))",
        "update dag set description = 'as of round ' || $1 where dag_id like '%_0003'",
    ] {
        sqlx::query(statement).bind(round).execute(&mut *metadata).await.unwrap();
    }
}

/// Waits until a statement of the worker waits for a lock.
pub(crate) async fn wait_until_blocked(test: &TestWorker, statement: &str) {
    let is_blocked = format!(
        "select exists (select from pg_stat_activity where datname = current_database()
         and wait_event_type = 'Lock' and query like '%{statement}%' and pid <> pg_backend_pid())"
    );
    // A role sees the statements of its own sessions only.
    testkit::eventually_true(&test.worker.runner.pool, TIMEOUT, &is_blocked).await;
}

#[expect(clippy::too_many_lines, reason = "one line a step")]
#[tokio::test(flavor = "multi_thread")]
async fn one_poll_repairs_a_sync_killed_at_any_step() {
    let airflow = airflow().await;
    let proxy = DelayingProxy::start(&airflow).await;
    let mut metadata = PgConnection::connect(airflow.database_url.as_deref().unwrap()).await.unwrap();
    let test = TestWorker::idle().await;
    test.connect(&airflow).await;
    test.set_base_url(&proxy.url).await;
    let mut worker = WorkerProcess::start(&test.settings, &[]).await;
    let steps: [(&str, bool, &'static [&'static str], usize); 9] = [
        ("at the first request", false, &["/dags?limit=1"], 0),
        ("in the middle of the list", false, &["/dags?", "offset="], 2),
        ("after the list", false, &["/dagRuns?updated_at_gte"], 0),
        ("between pages of runs", false, &["/dagRuns?updated_at_gte"], 2),
        ("between pages of task runs", false, &["/taskInstances?", "updated_at_gte"], 2),
        ("before the unfinished runs", false, &["state=running"], 0),
        ("at the task graphs", true, &["/tasks"], 5),
        ("between histories", true, &["/dagRuns?run_after_gte"], 9),
        ("within a history", true, &["/taskInstances?", "run_after_gte"], 14),
    ];
    poll_and_compare(&test, &airflow, "before the first step").await;
    let mut round = 0;
    for (step, full, parts, after) in steps {
        change(&mut metadata, round).await;
        round += 1;
        proxy.hold(parts, after);
        test.enqueue_sync(full, false).await;
        proxy.wait_until_held().await;
        worker.kill();
        proxy.release();
        worker = restart(&test).await;
        poll_and_compare(&test, &airflow, step).await;
    }
    for (step, lock, statement) in [
        (
            "after the last event, before the cursor",
            "select from connector_state for update",
            "update connector_state set cursor_at",
        ),
        ("in the projection's transaction", "lock table runs in share mode", "insert into runs"),
    ] {
        change(&mut metadata, round).await;
        round += 1;
        proxy.hold(&["/dagRuns?updated_at_gte"], 0);
        test.enqueue_sync(false, false).await;
        proxy.wait_until_held().await;
        let mut locking = test.pool.begin().await.unwrap();
        sqlx::query(lock).execute(&mut *locking).await.unwrap();
        proxy.release();
        wait_until_blocked(&test, statement).await;
        worker.kill();
        locking.rollback().await.unwrap();
        worker = restart(&test).await;
        poll_and_compare(&test, &airflow, step).await;
    }
    let unfinished =
        "select count(*) from syncs where status not in ('succeeded', 'failed') or started_at < requested_at
                or status = 'failed' and error is null";
    assert_eq!(test.number(unfinished).await, 0, "every sync has finished, with an error if it failed");
    assert_eq!(test.number("select count(*) from syncs where status = 'failed'").await, 0);
    assert_eq!(test.number("select count(*) from sync_queue").await, 0, "nothing is left in the queue");
}

/// Expires the dead worker's lease, and starts another worker.
async fn restart(test: &TestWorker) -> WorkerProcess {
    test.execute("update connector_state set lease_until = now()").await;
    WorkerProcess::start(&test.settings, &[]).await
}

/// Polls once more, and asserts that the read model is equal to the source.
async fn poll_and_compare(test: &TestWorker, airflow: &AirflowServer, step: &str) {
    eprintln!("polling: {step}");
    test.enqueue_sync(false, false).await;
    test.wait_for_within(TIMEOUT, "select bool_and(status in ('succeeded', 'failed')) from syncs").await;
    assert_mirrors(test, airflow).await;
}
