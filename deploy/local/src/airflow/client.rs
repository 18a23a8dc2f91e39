//! Talking to an Airflow as a test or the demo does: logged in, JSON in and out. The product has its own client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long one answer may take where much else goes on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// A REST API of Airflow's, and with it the way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowApi {
    /// Airflow 2's, with a password at every request.
    V1,
    /// Airflow 3's, with a token.
    V2,
}

/// An Airflow server and how to log in to it.
#[derive(Clone, Debug)]
pub struct AirflowServer {
    /// Where it is, without a path of the API.
    pub url: String,
    /// What it speaks.
    pub api: AirflowApi,
    /// An account that may do everything.
    pub username: String,
    /// Its password.
    pub password: String,
    /// An account that may only read, and its password; known of our own servers.
    pub viewer: Option<(String, String)>,
    /// The metadata database, as a PostgreSQL URL; known of our own servers.
    pub database_url: Option<String>,
    /// Where DAG files are put; known of our own servers.
    pub dags_folder: Option<PathBuf>,
    session: Arc<OnceCell<AirflowSession>>,
}

/// One login, shared by the copies of an [`Airflow`]. Made when first used, since connections do not survive the
/// runtime they were made in and every test has its own.
#[derive(Debug)]
struct AirflowSession {
    client: Client,
    /// None where every request carries the password.
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
    /// An Airflow 3 that somebody else runs.
    pub fn at(url: String, username: String, password: String) -> Self {
        let (url, api) = (url.trim_end_matches('/').to_owned(), AirflowApi::V2);
        let session = Arc::default();
        Self { url, api, username, password, viewer: None, database_url: None, dags_folder: None, session }
    }

    /// Makes sure that the server lets us in.
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

    /// One request to a path of the API, whatever the answer.
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

    /// Reads a path of the API, such as `dags/x/dagRuns`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.succeed(Method::GET, path, None).await
    }

    /// Sends a new thing.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.succeed(Method::POST, path, Some(body)).await
    }

    /// Changes a thing.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.succeed(Method::PATCH, path, Some(body)).await
    }

    /// Deletes a thing.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.succeed(Method::DELETE, path, None).await.map(drop)
    }

    /// Starts a run and returns its id; the DAG must be unpaused for it to get anywhere.
    pub async fn trigger(&self, dag_id: &str, conf: &Value) -> Result<String> {
        let body = match self.api {
            AirflowApi::V1 => json!({"conf": conf}),
            AirflowApi::V2 => json!({"logical_date": null, "conf": conf}),
        };
        let run = self.post(&format!("dags/{dag_id}/dagRuns"), &body).await?;
        Ok(run["dag_run_id"].as_str().context("Airflow started a run without an id")?.to_owned())
    }

    /// Lets a DAG run.
    pub async fn unpause(&self, dag_id: &str) -> Result<()> {
        self.patch(&format!("dags/{dag_id}"), &json!({"is_paused": false})).await.map(drop)
    }

    /// Waits until Airflow has read a DAG's file.
    pub async fn wait_for_dag(&self, dag_id: &str, timeout: Duration) -> Result<()> {
        let path = format!("dags/{dag_id}");
        wait(timeout, &format!("the DAG {dag_id} to appear"), async || {
            let (status, _) = self.request(Method::GET, &path, None).await?;
            Ok((status == StatusCode::OK).then_some(()))
        })
        .await
    }

    /// Waits until a run has ended; returns its state, `success` or `failed`.
    pub async fn wait_for_run(&self, dag_id: &str, run_id: &str, timeout: Duration) -> Result<String> {
        let path = format!("dags/{dag_id}/dagRuns/{run_id}");
        wait(timeout, &format!("the run {run_id} of {dag_id} to end"), async || {
            let run = self.get(&path).await?;
            let state = run["state"].as_str().unwrap_or_default();
            Ok(["success", "failed"].contains(&state).then(|| state.to_owned()))
        })
        .await
    }

    async fn succeed(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.request(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("Airflow answers {status} to {method} {path}: {answer}");
        }
        Ok(answer)
    }
}

/// What a server says of its parts, without a login.
pub(super) async fn health(url: &str, api: AirflowApi) -> Option<Value> {
    let place = match api {
        AirflowApi::V1 => "health",
        AirflowApi::V2 => "monitor/health",
    };
    let request = client().ok()?.get(format!("{url}/{}/{place}", api.path()));
    let (status, body) = send(request).await.ok()?;
    status.is_success().then_some(body)
}

async fn wait<T>(timeout: Duration, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn send(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await.context("cannot reach Airflow")?;
    let status = response.status();
    let text = response.text().await.context("cannot read what Airflow answers")?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

fn client() -> Result<Client> {
    let builder = Client::builder().no_proxy().connect_timeout(Duration::from_secs(3));
    Ok(builder.timeout(REQUEST_TIMEOUT).build()?)
}
