//! `cargo demo`: starts everything and creates two spaces with users, keys and a connector. A second run
//! reuses what already exists. `notifications` adds channels, and `incidents` what is reported to them.

mod incidents;
mod notifications;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

pub use self::incidents::delay_next_start;
use crate::airflow::{AirflowServer, airflow, external_airflow};
use crate::console::console;
use crate::env_file::{self, DemoSettings};
use crate::kafka::kafka;
use crate::oidc::oidc_provider;
use crate::postgres::postgres;
use crate::progress::{Steps, note, print};
use crate::receiver::receiver;
use crate::status::Component;
use crate::{paths, ports, product};

const SPACE: &str = "demo";
const OTHER_SPACE: &str = "other";
const CONNECTOR: &str = "local airflow";
/// The example DAGs, and whether the demo triggers a run of each.
const DAGS: [(&str, bool); 5] = [
    ("daily_sales", true),
    ("warehouse_stock", true),
    ("customer_segments", true),
    ("train_model", true),
    ("stock_check", false),
];
/// The users of the demo: the setting that holds the API key, email address, name, role and space.
const USERS: [(&str, &str, &str, &str, &str); 4] = [
    ("ORCHESTRATION_API_KEY", "edith@demo.example", "Edith Editor", "editor", SPACE),
    ("ORCHESTRATION_VIEWER_KEY", "victor@demo.example", "Victor Viewer", "viewer", SPACE),
    ("ORCHESTRATION_ADMIN_KEY", "ada@demo.example", "Ada Admin", "admin", SPACE),
    ("ORCHESTRATION_OTHER_API_KEY", "olga@other.example", "Olga Other", "admin", OTHER_SPACE),
];
/// Groups of the OpenID Connect provider, and their roles in the space.
const GROUPS: [(&str, &str); 3] =
    [("data-admins", "admin"), ("data-engineers", "editor"), ("analysts", "viewer")];
/// Disk space for a first start: Airflow, Kafka, PostgreSQL and our own build.
const FIRST_START_DISK_GIB: u64 = 3;

/// A client of the API that the demo started.
struct DemoApi {
    url: String,
    client: Client,
}

/// Starts everything and prints example commands. `port` is the API's port; without it a free one is chosen.
/// With `oidc`, people sign in to the console at an OpenID Connect provider, too.
pub async fn demo(port: Option<u16>, oidc: bool) -> Result<()> {
    let mut steps = Steps::new(10);
    steps.next("Checking this machine");
    check_machine(port)?;

    let (airflow, mut settings) = start_servers(&mut steps).await?;
    set_sign_in(&mut settings, oidc).await?;
    steps.next("Starting a mail server and a webhook, which notifications are sent to");
    let receiver = receiver().await?;

    steps.next("Building the console");
    if let Err(error) = console().await {
        note(&format!("the demo runs without its console: {error:#}"));
    }

    steps.next("Building the worker and the API (the first time this takes some minutes)");
    steps.pause();
    product::build().await?;

    steps.next("Starting the worker and the API");
    product::migrate(&settings).await?;
    let api = DemoApi::at(product::start_api(&settings, port).await?)?;
    notifications::set_mail_server(&mut settings, &api, &receiver).await?;
    product::start_worker(&settings).await?;

    steps.next("Creating two spaces, their users and their keys");
    create_spaces(&mut settings, &api).await?;
    if oidc {
        map_groups(&settings).await?;
    }
    let connector = ensure_connector(&settings, &api, &airflow).await?;
    settings.insert("ORCHESTRATION_CONNECTOR_ID".to_owned(), connector.clone());
    env_file::write(&settings)?;
    notifications::ensure_channels(&settings, &api, &receiver).await?;

    steps.next("Running example DAGs and waiting for the first sync");
    if external_airflow().is_none() {
        run_examples(&airflow).await?;
        incidents::start_unusual_runs(&airflow).await?;
    }
    let pipelines = wait_for_sync(&settings, &api, &connector).await?;
    let seconds = steps.finish();
    print(&summary(&settings, &api.url, &airflow, pipelines, seconds));
    print(&notifications::summary(&receiver));
    Ok(())
}

async fn start_servers(steps: &mut Steps) -> Result<(AirflowServer, DemoSettings)> {
    steps.next("Starting PostgreSQL");
    postgres().await?;
    steps.next("Starting Apache Kafka");
    let kafka = kafka().await?;
    steps.next("Starting Apache Airflow (the first time this takes a minute)");
    let airflow = airflow().await?;
    let settings = product::prepare_settings(&kafka, &airflow).await?;
    Ok((airflow, settings))
}

/// Sets or removes the OpenID Connect provider. A running API with other settings is stopped.
async fn set_sign_in(settings: &mut DemoSettings, oidc: bool) -> Result<()> {
    let before = settings.clone();
    settings.retain(|name, _| !name.starts_with("ORCHESTRATION_OIDC_"));
    if oidc {
        let provider = oidc_provider().await?;
        let client = [
            ("ORCHESTRATION_OIDC_ISSUER", provider.issuer.as_str()),
            ("ORCHESTRATION_OIDC_CLIENT_ID", provider.client_id),
            ("ORCHESTRATION_OIDC_CLIENT_SECRET", provider.client_secret),
            ("ORCHESTRATION_OIDC_NAME", "the demo's accounts"),
        ];
        settings.extend(client.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    if *settings != before {
        Component::Api.service().stop().await?;
    }
    Ok(())
}

/// Gives the groups of the provider's people roles in the space.
async fn map_groups(settings: &DemoSettings) -> Result<()> {
    for (group, role) in GROUPS {
        product::command_line(settings, &["group", "set", SPACE, group, role]).await?;
    }
    Ok(())
}

fn check_machine(port: Option<u16>) -> Result<()> {
    // A later start downloads and builds little.
    paths::require_space(if env_file::path().exists() { 1 } else { FIRST_START_DISK_GIB })?;
    let ours = Component::Api.service().running().map(|record| record.port);
    if let Some(port) = port
        && ours != Some(port)
        && !ports::is_free(port)
    {
        bail!("port {port} is taken by another program: choose another with --port, or leave it out");
    }
    Ok(())
}

async fn create_spaces(settings: &mut DemoSettings, api: &DemoApi) -> Result<()> {
    for (slug, name) in [(SPACE, "Demo"), (OTHER_SPACE, "Another team")] {
        product::command_line(settings, &["space", "create", slug, "--name", name]).await?;
    }
    let team = product::command_line(settings, &["team", "create", SPACE, "Data platform"]).await?;
    for (setting, email, name, role, space) in USERS {
        product::command_line(settings, &["user", "create", email, "--name", name]).await?;
        product::command_line(settings, &["member", "set", space, email, role]).await?;
        // A key is shown only once, so the key of an earlier run is reused while it is valid.
        let previous = settings.get(setting);
        if previous.is_none_or(|key| key.is_empty()) || !api.accepts(settings, setting).await? {
            let created =
                product::command_line(settings, &["key", "create", email, "--label", "demo"]).await?;
            settings.insert(setting.to_owned(), text(&created, "key")?);
        }
    }
    settings.insert("ORCHESTRATION_SPACE".to_owned(), SPACE.to_owned());
    settings.insert("ORCHESTRATION_OTHER_SPACE".to_owned(), OTHER_SPACE.to_owned());
    settings.insert("ORCHESTRATION_TEAM_ID".to_owned(), text(&team, "id")?);
    env_file::write(settings)
}

/// Creates the demo's connector, or updates it if the URL of Airflow has changed. Returns its id.
async fn ensure_connector(settings: &DemoSettings, api: &DemoApi, airflow: &AirflowServer) -> Result<String> {
    let key = &settings["ORCHESTRATION_ADMIN_KEY"];
    let path = format!("catalog/spaces/{SPACE}/connectors");
    let desired = json!({
        "name": CONNECTOR, "connector_type": "airflow",
        "config": {"base_url": airflow.url, "api_version": "auto", "schedule": "*/5 * * * * *",
                   "history_days": 30, "verify_tls": true},
        "credentials": {"auth_type": "basic", "username": airflow.username, "password": airflow.password},
    });
    let existing = api.find(&path, key, "name", CONNECTOR).await?;
    match existing {
        None => text(&api.request(Method::POST, &path, key, Some(&desired)).await?, "id"),
        Some(one) if one["config"]["base_url"] == desired["config"]["base_url"] => text(&one, "id"),
        Some(one) => {
            let change = json!({"config": desired["config"], "credentials": desired["credentials"]});
            let path = format!("{path}/{}", text(&one, "id")?);
            text(&api.request(Method::PATCH, &path, key, Some(&change)).await?, "id")
        }
    }
}

async fn run_examples(airflow: &AirflowServer) -> Result<()> {
    for (dag, start) in DAGS {
        airflow.wait_for_dag(dag, Duration::from_secs(120)).await?;
        airflow.unpause(dag).await?;
        if start {
            airflow.trigger(dag, &json!({"from": "cargo demo"})).await?;
        }
    }
    note(&format!(
        "{} example DAGs unpaused, {} runs started",
        DAGS.len(),
        DAGS.iter().filter(|dag| dag.1).count()
    ));
    Ok(())
}

/// Waits until a sync has succeeded and pipelines are stored. Returns the number of pipelines.
async fn wait_for_sync(settings: &DemoSettings, api: &DemoApi, connector: &str) -> Result<usize> {
    let key = &settings["ORCHESTRATION_API_KEY"];
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let state = api
            .request(Method::GET, &format!("catalog/spaces/{SPACE}/connectors/{connector}"), key, None)
            .await?;
        let path = format!("spaces/{SPACE}/orchestration/pipelines?size=500");
        let pipelines = api.request(Method::GET, &path, key, None).await?;
        let count = pipelines.as_array().map_or(0, Vec::len);
        if !state["last_success_at"].is_null() && count > 0 {
            return Ok(count);
        }
        if Instant::now() >= deadline {
            let reason = state["last_error"].as_str().unwrap_or("it gave no reason");
            bail!("no sync succeeded within three minutes ({reason}): look at `cargo local logs worker`");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn summary(
    settings: &DemoSettings,
    url: &str,
    airflow: &AirflowServer,
    pipelines: usize,
    seconds: u64,
) -> String {
    let key = &settings["ORCHESTRATION_API_KEY"];
    let base = format!("{url}/api/v1.0/spaces/{SPACE}/orchestration");
    let file = env_file::path();
    let sign_in = match settings.get("ORCHESTRATION_OIDC_ISSUER") {
        Some(issuer) => format!("sign in with a key, or at {issuer} as Ada, Edith, Victor or Nora"),
        None => "sign in with a key".to_owned(),
    };
    format!(
        "
The demo runs after {seconds} s: {pipelines} pipelines of Airflow {airflow} ({username} / {password})

  console   {url}   ({sign_in})
  API       {url}/docs
  key       {key}   (Edith, editor of the space `{SPACE}`)

Try:
  curl -s -H 'Authorization: Bearer {key}' '{base}/pipelines'
  curl -s -H 'Authorization: Bearer {key}' '{base}/runs?size=5'
  curl -s -X POST -H 'Authorization: Bearer {key}' '{base}/connectors/{connector}/sync'

All keys and settings: {file}. See `cargo local status`, `cargo local logs -f`, `cargo local down`.",
        airflow = airflow.url,
        username = airflow.username,
        password = airflow.password,
        connector = settings["ORCHESTRATION_CONNECTOR_ID"],
        file = file.display(),
    )
}

impl DemoApi {
    fn at(port: u16) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), client })
    }

    /// Returns whether the API accepts the key in this setting.
    async fn accepts(&self, settings: &DemoSettings, setting: &str) -> Result<bool> {
        let (status, _) = self.send(Method::GET, "me", &settings[setting], None).await?;
        Ok(status.is_success())
    }

    /// Returns the first element of a list whose field has this value.
    async fn find(&self, path: &str, key: &str, field: &str, value: &str) -> Result<Option<Value>> {
        let all = self.request(Method::GET, &format!("{path}?size=500"), key, None).await?;
        let found = all.as_array().and_then(|all| all.iter().find(|one| one[field] == value));
        Ok(found.cloned())
    }

    /// Sends a request and returns the response body. Any status but 2xx is an error.
    async fn request(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.send(method.clone(), path, key, body).await?;
        if !status.is_success() {
            bail!("the API answers {status} to {method} {path}: {answer}");
        }
        Ok(answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request =
            self.client.request(method, format!("{}/api/v1.0/{path}", self.url)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response =
            request.send().await.with_context(|| format!("cannot reach the API at {}", self.url))?;
        let status = response.status();
        let answer = response.text().await.context("the API's response is incomplete")?;
        Ok((status, serde_json::from_str(&answer).unwrap_or(Value::String(answer))))
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    let found = value[field].as_str().with_context(|| format!("no {field} in {value}"))?;
    Ok(found.to_owned())
}
