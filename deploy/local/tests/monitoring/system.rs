//! The worker and the API as an operator runs them: as processes, on a separate database and separate topics,
//! with a connector to a real Airflow.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed, eventually};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const SPACE: &str = "monitored-space";
pub(crate) const EMAIL: &str = "ada@monitored.example";
pub(crate) const SEALING_KEY: &str = "c2VhbGluZy1jYW5hcnktc2VhbGluZy1jYW5hcnktc2U=";

/// A running worker and API. Both are killed when it is dropped.
pub(crate) struct MonitoredSystem {
    pub api_address: String,
    pub worker_address: String,
    pub key: String,
    pub connector: String,
    pub airflow: AirflowServer,
    processes: Vec<Child>,
    settings: BTreeMap<&'static str, String>,
    folder: TempDir,
}

impl MonitoredSystem {
    /// Starts both programs, and creates a connector without a schedule, which has never been synced.
    pub(crate) async fn start() -> Self {
        let binaries = local::tested_binaries().await.unwrap();
        let airflow = seeded_airflow().await;
        let mut system = Self {
            api_address: format!("127.0.0.1:{}", free_port()),
            worker_address: format!("127.0.0.1:{}", free_port()),
            key: String::new(),
            connector: String::new(),
            airflow,
            processes: Vec::new(),
            settings: settings().await,
            folder: tempfile::tempdir().unwrap(),
        };
        let worker = ["run", "--metrics-listen", &system.worker_address.clone()];
        system.spawn(Command::new(binaries.join("orchestration-worker")).args(worker), "worker");
        let api = ["serve", "--listen", &system.api_address.clone()];
        system.spawn(Command::new(binaries.join("orchestration-api")).args(api), "api");
        system.key = system.create_key(&binaries);
        for address in [&system.api_address, &system.worker_address] {
            let url = format!("http://{address}/readyz");
            eventually("both are ready", Duration::from_secs(60), async || get(&url).await.is_ok()).await;
        }
        system.connector = system.create_connector().await;
        system
    }

    /// Creates a space and its administrator, and returns the administrator's API key.
    fn create_key(&self, binaries: &Path) -> String {
        let administer = |arguments: &[&str]| {
            let mut command = Command::new(binaries.join("orchestration-api"));
            let output = command.arg("--json").args(arguments).envs(&self.settings).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        administer(&["space", "create", SPACE, "--name", "Monitored"]);
        administer(&["user", "create", EMAIL, "--name", "Ada"]);
        administer(&["member", "set", SPACE, EMAIL, "admin"]);
        let created = administer(&["key", "create", EMAIL, "--label", "test"]);
        created["key"].as_str().unwrap().to_owned()
    }

    fn spawn(&mut self, command: &mut Command, name: &str) {
        let log = File::create(self.folder.path().join(name)).unwrap();
        self.processes.push(command.envs(&self.settings).stderr(log).spawn().unwrap());
    }

    async fn create_connector(&self) -> String {
        let AirflowServer { url, username, password, .. } = &self.airflow;
        let connector = json!({
            "name": "monitored airflow", "connector_type": "airflow",
            "config": {"base_url": url, "schedule": null},
            "credentials": {"auth_type": "basic", "username": username, "password": password},
        });
        let path = format!("/api/v1.0/catalog/spaces/{SPACE}/connectors");
        let created = self.request(Method::POST, &path, None, Some(connector)).await;
        created["id"].as_str().unwrap().to_owned()
    }

    /// Sends a request to the API, and returns the response body. Any status but 2xx fails the test.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        traceparent: Option<&str>,
        body: Option<Value>,
    ) -> Value {
        let mut request =
            client().request(method, format!("http://{}{path}", self.api_address)).bearer_auth(&self.key);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Requests a sync and waits until it has succeeded.
    pub(crate) async fn sync(&self, traceparent: Option<&str>) -> Value {
        let syncs = format!("/api/v1.0/spaces/{SPACE}/orchestration/connectors/{}/sync", self.connector);
        let requested = self.request(Method::POST, &syncs, traceparent, None).await;
        let path = format!("{syncs}s/{}", requested["id"].as_str().unwrap());
        eventually("the sync has succeeded", Duration::from_secs(120), async || {
            let sync = self.request(Method::GET, &path, None, None).await;
            assert_ne!(sync["status"], "failed", "{sync}");
            sync["status"] == "succeeded"
        })
        .await;
        requested
    }

    pub(crate) async fn metrics(&self, address: &str) -> String {
        get(&format!("http://{address}/metrics")).await.unwrap()
    }

    /// Returns every log line of one of the programs.
    pub(crate) fn log(&self, name: &str) -> Vec<Value> {
        let text = self.log_text(name);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    }

    pub(crate) fn log_text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for MonitoredSystem {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn settings() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("DATABASE_URL", local::test_database().await.unwrap().url),
        ("KAFKA_BOOTSTRAP_SERVERS", local::kafka().await.unwrap()),
        ("ORCHESTRATION_KAFKA_PREFIX", format!("test-{}.", uuid::Uuid::now_v7().simple())),
        ("ORCHESTRATION_KAFKA_PARTITIONS", "2".to_owned()),
        ("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true".to_owned()),
        ("ORCHESTRATION_SEALING_KEYS", SEALING_KEY.to_owned()),
        ("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0".to_owned()),
        ("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0".to_owned()),
        ("ORCHESTRATION_LOG_FORMAT", "json".to_owned()),
        // The most verbose level in use, because it must not reveal secrets either.
        ("ORCHESTRATION_LOG", "debug,tokio_cron_scheduler=warn,librdkafka=error,rdkafka=off".to_owned()),
    ])
}

async fn seeded_airflow() -> AirflowServer {
    let name = "airflow-seed-test".to_owned();
    let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
    let airflow = local::airflow_instance(&setup).await.unwrap();
    let seed = Seed { prefix: "made".into(), dags: 2, runs: 40, tasks: 3 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    airflow
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

/// Sends a GET request. Returns the response body, as an error unless the status is 2xx.
pub(crate) async fn get(url: &str) -> Result<String, String> {
    let response = client().get(url).send().await.map_err(|error| error.to_string())?;
    let (status, body) = (response.status(), response.text().await.unwrap_or_default());
    if status.is_success() { Ok(body) } else { Err(body) }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
