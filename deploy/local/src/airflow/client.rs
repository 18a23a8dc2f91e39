//! An Airflow client for the tests and the demo: it logs in, and sends and receives JSON. The product has its
//! own client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Timeout of one request. It is long because tests may load the machine heavily.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum wait for the run that an event of an asset triggers.
const ASSET_TIMEOUT: Duration = Duration::from_secs(300);

/// A REST API of Airflow, which determines the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowApi {
    /// The API of Airflow 2, with a password in every request.
    V1,
    /// The API of Airflow 3, with a token.
    V2,
}

/// An Airflow server and its accounts.
#[derive(Clone, Debug)]
pub struct AirflowServer {
    /// The base URL, without the path of the API.
    pub url: String,
    /// The REST API of its release.
    pub api: AirflowApi,
    /// The user name of an administrator.
    pub username: String,
    /// The administrator's password.
    pub password: String,
    /// User name and password of an account that may only read. Set only for servers that were started here.
    pub viewer: Option<(String, String)>,
    /// The PostgreSQL URL of the metadata database. Set only for servers that were started here.
    pub database_url: Option<String>,
    /// The folder of DAG files. Set only for servers that were started here.
    pub dags_folder: Option<PathBuf>,
    session: Arc<OnceCell<AirflowSession>>,
}

/// One login, shared by the copies of an [`AirflowServer`]. It is created at the first request, because
/// connections cannot be used in another runtime, and every test has its own.
#[derive(Debug)]
struct AirflowSession {
    client: Client,
    /// `None` if every request carries the password.
    token: Option<String>,
}

impl AirflowApi {
    fn path(self) -> &'static str {
        match self {
            Self::V1 => "api/v1",
            Self::V2 => "api/v2",
        }
    }
}

impl AirflowServer {
    /// Returns an Airflow 3 that was not started by this crate.
    pub fn at(url: String, username: String, password: String) -> Self {
        let (url, api) = (url.trim_end_matches('/').to_owned(), AirflowApi::V2);
        let session = Arc::default();
        Self { url, api, username, password, viewer: None, database_url: None, dags_folder: None, session }
    }

    /// Checks that the server accepts the credentials.
    pub async fn check_login(&self) -> Result<()> {
        self.get("dags?limit=1").await.map(drop)
    }

    async fn session(&self) -> Result<&AirflowSession> {
        self.session.get_or_try_init(|| self.log_in()).await
    }

    async fn log_in(&self) -> Result<AirflowSession> {
        let client = client()?;
        if self.api == AirflowApi::V1 {
            return Ok(AirflowSession { client, token: None });
        }
        let login = json!({"username": self.username, "password": self.password});
        let request = client.post(format!("{}/auth/token", self.url)).json(&login);
        let (status, body) = send(request).await?;
        match body["access_token"].as_str() {
            Some(token) => Ok(AirflowSession { client, token: Some(token.to_owned()) }),
            None => bail!("Airflow at {} refuses the login: {status} {body}", self.url),
        }
    }

    /// Sends a request to a path of the API and returns the response, whatever its status.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let session = self.session().await?;
        let url = format!("{}/{}/{}", self.url, self.api.path(), path.trim_start_matches('/'));
        let request = session.client.request(method, url);
        let request = match &session.token {
            Some(token) => request.bearer_auth(token),
            None => request.basic_auth(&self.username, Some(&self.password)),
        };
        send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// Sends a GET request to a path of the API, such as `dags/x/dagRuns`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.request_ok(Method::GET, path, None).await
    }

    /// Sends a POST request.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.request_ok(Method::POST, path, Some(body)).await
    }

    /// Sends a PATCH request.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.request_ok(Method::PATCH, path, Some(body)).await
    }

    /// Sends a DELETE request.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.request_ok(Method::DELETE, path, None).await.map(drop)
    }

    /// Triggers a run and returns its id. The run is scheduled only if the DAG is not paused.
    pub async fn trigger(&self, dag_id: &str, conf: &Value) -> Result<String> {
        let body = match self.api {
            AirflowApi::V1 => json!({"conf": conf}),
            AirflowApi::V2 => json!({"logical_date": null, "conf": conf}),
        };
        let run = self.post(&format!("dags/{dag_id}/dagRuns"), &body).await?;
        Ok(run["dag_run_id"].as_str().context("Airflow started a run without an id")?.to_owned())
    }

    /// Creates an event of an asset, waits until a DAG has a new run, and returns its id. The DAG must not be
    /// paused.
    pub async fn trigger_by_asset(&self, asset: &str, dag_id: &str, extra: &Value) -> Result<String> {
        let assets = self.get(&format!("assets?name_pattern={asset}")).await?;
        let newest = format!("dags/{dag_id}/dagRuns?order_by=-id&limit=1");
        let before = self.get(&newest).await?["dag_runs"][0]["dag_run_id"].clone();
        let event = json!({"asset_id": assets["assets"][0]["id"], "extra": extra});
        self.post("assets/events", &event).await?;
        wait(ASSET_TIMEOUT, &format!("{asset} to trigger {dag_id}"), async || {
            let run = self.get(&newest).await?["dag_runs"][0]["dag_run_id"].clone();
            Ok(run.as_str().filter(|_| run != before).map(ToOwned::to_owned))
        })
        .await
    }

    /// Unpauses a DAG.
    pub async fn unpause(&self, dag_id: &str) -> Result<()> {
        self.patch(&format!("dags/{dag_id}"), &json!({"is_paused": false})).await.map(drop)
    }

    /// Waits until Airflow has parsed a DAG's file.
    pub async fn wait_for_dag(&self, dag_id: &str, timeout: Duration) -> Result<()> {
        let path = format!("dags/{dag_id}");
        wait(timeout, &format!("the DAG {dag_id} to appear"), async || {
            let (status, _) = self.request(Method::GET, &path, None).await?;
            Ok((status == StatusCode::OK).then_some(()))
        })
        .await
    }

    /// Waits until a run has ended, and returns its state, `success` or `failed`.
    pub async fn wait_for_run(&self, dag_id: &str, run_id: &str, timeout: Duration) -> Result<String> {
        let path = format!("dags/{dag_id}/dagRuns/{run_id}");
        wait(timeout, &format!("the run {run_id} of {dag_id} to end"), async || {
            let run = self.get(&path).await?;
            let state = run["state"].as_str().unwrap_or_default();
            Ok(["success", "failed"].contains(&state).then(|| state.to_owned()))
        })
        .await
    }

    /// Sends a request and returns the response body. Any status but 2xx is an error.
    async fn request_ok(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, response) = self.request(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("Airflow answers {status} to {method} {path}: {response}");
        }
        Ok(response)
    }
}

/// Returns the health report of a server, which needs no login.
pub(super) async fn health(url: &str, api: AirflowApi) -> Option<Value> {
    let endpoint = match api {
        AirflowApi::V1 => "health",
        AirflowApi::V2 => "monitor/health",
    };
    let request = client().ok()?.get(format!("{url}/{}/{endpoint}", api.path()));
    let (status, body) = send(request).await.ok()?;
    status.is_success().then_some(body)
}

async fn wait<T>(timeout: Duration, what: &str, poll: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = poll().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("timed out after {} s waiting for {what}", timeout.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn send(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await.context("cannot reach Airflow")?;
    let status = response.status();
    let text = response.text().await.context("cannot read Airflow's response")?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

fn client() -> Result<Client> {
    let builder = Client::builder().no_proxy().connect_timeout(Duration::from_secs(3));
    Ok(builder.timeout(REQUEST_TIMEOUT).build()?)
}
