//! Both programs as processes on one database, used over HTTP and on the command line.

use std::time::Duration;

use api::http::BASE_PATH;
use axum::http::{Method, header};
use local::RoleUrls;
use serde_json::{Value, json};
use testkit::{ApiProcess, ProgramSettings, WorkerProcess, eventually, sealing_keys, stdout_of};

use crate::app::SPACE;

const TIMEOUT: Duration = Duration::from_secs(120);

/// The settings of both programs and of the command line, each with its own role.
#[derive(Clone)]
pub(crate) struct SystemSettings {
    pub owner: ProgramSettings,
    worker: ProgramSettings,
    api: ProgramSettings,
}

impl SystemSettings {
    /// Settings with topics of their own, which exist already.
    pub(crate) async fn new(urls: RoleUrls) -> Self {
        let kafka = testkit::test_topics(&local::kafka().await.unwrap()).await;
        testkit::create_topics(&kafka).await;
        let settings = |database_url| ProgramSettings {
            database_url,
            kafka: kafka.clone(),
            sealing_keys: sealing_keys("a"),
        };
        Self { owner: settings(urls.owner), worker: settings(urls.worker), api: settings(urls.api) }
    }

    /// Runs a command as the owner of the schema; the JSON that it prints.
    pub(crate) async fn administer(&self, arguments: &[&str]) -> Value {
        let printed = stdout_of(self.owner.api(&[&["--json"][..], arguments].concat()).await).await;
        serde_json::from_str(&printed).unwrap()
    }

    /// Creates a user with a key.
    pub(crate) async fn hire(&self, email: &str, role: &str) -> String {
        self.administer(&["user", "create", email, "--name", email]).await;
        self.administer(&["member", "set", SPACE, email, role]).await;
        let key = self.administer(&["key", "create", email]).await;
        key["key"].as_str().unwrap().to_owned()
    }
}

/// The running programs, killed when they are dropped.
pub(crate) struct RunningSystem {
    pub api: ApiProcess,
    _worker: WorkerProcess,
    client: reqwest::Client,
}

impl RunningSystem {
    /// Starts both programs with these arguments, the API with further ones, and waits until it serves reads.
    pub(crate) async fn start(settings: &SystemSettings, both: &[&str], api: &[&str]) -> Self {
        let worker = WorkerProcess::start(&settings.worker, both).await;
        let api = ApiProcess::start(&settings.api, &[both, api].concat()).await;
        api.wait_until_ready().await;
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        Self { api, _worker: worker, client }
    }

    /// Sends a request with a key, to a path below the API's base path; the status and the body.
    pub(crate) async fn call(&self, method: Method, key: &str, path: &str, body: Value) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{BASE_PATH}{path}", self.api.url));
        if !body.is_null() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let response = request.bearer_auth(key).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The body of a response that must have this status.
    pub(crate) async fn expect(
        &self,
        status: u16,
        (method, key, path): (Method, &str, &str),
        body: Value,
    ) -> Value {
        let (found, answer) = self.call(method, key, path, body).await;
        assert_eq!(found, status, "{path}: {answer}");
        answer
    }

    /// Creates a connector that is due every second; its path.
    pub(crate) async fn connect(&self, key: &str, config: Value, credentials: Value) -> String {
        let connectors = format!("/catalog/spaces/{SPACE}/connectors");
        let mut new = json!({"name": "airflow", "connector_type": "airflow", "config": config,
                             "credentials": credentials});
        new["config"]["schedule"] = json!("* * * * * *");
        let created = self.expect(201, (Method::POST, key, &connectors), new).await;
        format!("{connectors}/{}", created["id"].as_str().unwrap())
    }

    /// Waits until the connector has this property.
    pub(crate) async fn wait_for(&self, what: &str, key: &str, path: &str, holds: impl Fn(&Value) -> bool) {
        let is_so = async || holds(&self.expect(200, (Method::GET, key, path), Value::Null).await);
        eventually(what, TIMEOUT, is_so).await;
    }
}
