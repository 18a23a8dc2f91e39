//! The worker, the API, their users and a connector to the Airflow with the example DAGs.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use local::{AirflowServer, eventually};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

const SPACE: &str = "demo";
/// A space without connectors.
const EMPTY_SPACE: &str = "empty";
const SEALING_KEY: &str = "c2VhbGluZy1jYW5hcnktc2VhbGluZy1jYW5hcnktc2U=";
const DAGS: [&str; 5] = ["customer_segments", "daily_sales", "stock_check", "train_model", "warehouse_stock"];
/// The DAG whose runs always fail.
const FAILING: &str = "stock_check";
/// The setting with the user's key, address, name and role.
const USERS: [(&str, &str, &str, &str); 4] = [
    ("CONSOLE_ADMIN_KEY", "ada@demo.example", "Ada Admin", "admin"),
    ("CONSOLE_EDITOR_KEY", "edith@demo.example", "Edith Editor", "editor"),
    ("CONSOLE_VIEWER_KEY", "victor@demo.example", "Victor Viewer", "viewer"),
    ("CONSOLE_LEAVER_KEY", "lena@demo.example", "Lena Leaver", "viewer"),
];
const TIMEOUT: Duration = Duration::from_secs(180);

/// A running worker and API. Both are killed when it is dropped.
pub(crate) struct ConsoleSystem {
    url: String,
    keys: BTreeMap<&'static str, String>,
    settings: BTreeMap<&'static str, String>,
    binaries: PathBuf,
    processes: Vec<Child>,
    folder: TempDir,
}

impl ConsoleSystem {
    /// Starts both programs, and waits until a failed run of Airflow is mirrored.
    pub(crate) async fn start() -> Self {
        let binaries = local::tested_binaries().await.unwrap();
        let airflow = busy_airflow().await;
        let address = free_address();
        let mut system = Self {
            url: format!("http://{address}"),
            keys: BTreeMap::new(),
            settings: settings(&address).await,
            binaries: binaries.clone(),
            processes: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        system.spawn(&binaries, "orchestration-worker", &["run", "--metrics-listen", &free_address()]);
        system.spawn(&binaries, "orchestration-api", &["serve", "--listen", &address]);
        system.create_users(&binaries);
        let ready = format!("{}/readyz", system.url);
        eventually("the API is ready", TIMEOUT, async || {
            client().get(&ready).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
        system.create_connector(&airflow).await;
        system.create_channel().await;
        let failed = format!("/api/v1.0/spaces/{SPACE}/orchestration/pipelines?status=failed");
        eventually("a failed run is mirrored", TIMEOUT, async || {
            let pipelines = system.request(Method::GET, &failed, None).await;
            pipelines.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == FAILING))
        })
        .await;
        system
    }

    /// What the browser's tests need to know.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, String> {
        let mut environment = self.keys.clone();
        environment.insert("CONSOLE_URL", self.url.clone());
        environment.insert("CONSOLE_SPACE", SPACE.to_owned());
        let program = self.binaries.join("orchestration-api");
        environment.insert("CONSOLE_API_PROGRAM", program.to_string_lossy().into_owned());
        environment.extend(self.settings.clone());
        environment
    }

    /// The end of both programs' logs.
    pub(crate) fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{name}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        format!("{}\n{}", tail("orchestration-api"), tail("orchestration-worker"))
    }

    fn spawn(&mut self, binaries: &Path, program: &str, arguments: &[&str]) {
        let log = File::create(self.folder.path().join(program)).unwrap();
        let mut command = Command::new(binaries.join(program));
        let child = command.args(arguments).envs(&self.settings).stderr(log).spawn().unwrap();
        self.processes.push(child);
    }

    fn create_users(&mut self, binaries: &Path) {
        let program = binaries.join("orchestration-api");
        let administer = |arguments: &[&str]| administer(&program, &self.settings, arguments);
        administer(&["space", "create", SPACE, "--name", "Demo"]);
        administer(&["team", "create", SPACE, "Data platform"]);
        for (setting, email, name, role) in USERS {
            administer(&["user", "create", email, "--name", name]);
            administer(&["member", "set", SPACE, email, role]);
            let created = administer(&["key", "create", email, "--label", "laptop"]);
            self.keys.insert(setting, created["key"].as_str().unwrap().to_owned());
        }
        administer(&["space", "create", EMPTY_SPACE, "--name", "Empty"]);
        administer(&["member", "set", EMPTY_SPACE, USERS[0].1, "admin"]);
    }

    async fn create_connector(&self, airflow: &AirflowServer) {
        let connector = json!({
            "name": "local airflow", "connector_type": "airflow",
            "config": {"base_url": airflow.url, "schedule": "*/2 * * * * *"},
            "credentials": {"auth_type": "basic", "username": airflow.username, "password": airflow.password},
        });
        let path = format!("/api/v1.0/catalog/spaces/{SPACE}/connectors");
        self.request(Method::POST, &path, Some(connector)).await;
    }

    /// Creates a channel that reports every incident. The worker has no SMTP server, which its messages say.
    async fn create_channel(&self) {
        let base = format!("/api/v1.0/spaces/{SPACE}/orchestration/notifications");
        let channel = json!({
            "type": "email", "name": "Data platform on call", "config": {"to": ["on-call@demo.example"]},
        });
        let channel = self.request(Method::POST, &format!("{base}/channels"), Some(channel)).await;
        let rule = json!({ "channel_id": channel["id"] });
        self.request(Method::POST, &format!("{base}/rules"), Some(rule)).await;
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let key = &self.keys["CONSOLE_ADMIN_KEY"];
        let mut request = client().request(method, format!("{}{path}", self.url)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }
}

impl Drop for ConsoleSystem {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn administer(program: &PathBuf, settings: &BTreeMap<&str, String>, arguments: &[&str]) -> Value {
    let output = Command::new(program).arg("--json").args(arguments).envs(settings).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Returns the Airflow with the example DAGs, after a run of each has begun and one has failed.
async fn busy_airflow() -> AirflowServer {
    let airflow = local::airflow().await.unwrap();
    for dag in DAGS {
        airflow.wait_for_dag(dag, TIMEOUT).await.unwrap();
        airflow.unpause(dag).await.unwrap();
    }
    let run = airflow.trigger(FAILING, &json!({"by": "test"})).await.unwrap();
    airflow.trigger("warehouse_stock", &json!({"by": "test"})).await.unwrap();
    assert_eq!(airflow.wait_for_run(FAILING, &run, TIMEOUT).await.unwrap(), "failed");
    airflow
}

async fn settings(address: &str) -> BTreeMap<&'static str, String> {
    let provider = local::oidc_provider().await.unwrap();
    BTreeMap::from([
        ("DATABASE_URL", local::test_database().await.unwrap().url),
        ("KAFKA_BOOTSTRAP_SERVERS", local::kafka().await.unwrap()),
        ("ORCHESTRATION_KAFKA_PREFIX", format!("test-{}.", uuid::Uuid::now_v7().simple())),
        ("ORCHESTRATION_KAFKA_PARTITIONS", "2".to_owned()),
        ("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true".to_owned()),
        ("ORCHESTRATION_SEALING_KEYS", SEALING_KEY.to_owned()),
        ("ORCHESTRATION_PUBLIC_URL", format!("http://{address}")),
        ("ORCHESTRATION_OIDC_ISSUER", provider.issuer),
        ("ORCHESTRATION_OIDC_CLIENT_ID", provider.client_id.to_owned()),
        ("ORCHESTRATION_OIDC_CLIENT_SECRET", provider.client_secret.to_owned()),
        ("ORCHESTRATION_OIDC_NAME", "the test's accounts".to_owned()),
        ("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0".to_owned()),
        ("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0".to_owned()),
    ])
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
