//! Our own worker and API as services beside the real parts: built, given their settings, started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde_json::Value;

use crate::airflow::{AirflowServer, airflow};
use crate::env_file::{self, DemoSettings};
use crate::kafka::kafka;
use crate::postgres::{ensure_database, external_postgres, postgres};
use crate::process::Stop;
use crate::roles::RoleUrls;
use crate::service::{self, Launch, LocalService};
use crate::{paths, ports, tools};

const DEFAULT_API_PORT: u16 = 8080;
const DEFAULT_METRICS_PORT: u16 = 9464;

/// Where the worker's and the API's own way into the database stands, where they have roles of their own.
const WORKER_DATABASE_URL: &str = "ORCHESTRATION_WORKER_DATABASE_URL";
const API_DATABASE_URL: &str = "ORCHESTRATION_API_DATABASE_URL";

/// Writes `.local/demo.env` with what the worker and the API need; what else it holds stays.
pub(crate) async fn prepare_settings(kafka: &str, airflow: &AirflowServer) -> Result<DemoSettings> {
    let admin_url = postgres().await?;
    let mut settings = env_file::read()?;
    let database_url = match external_postgres() {
        // Which roles a server of somebody else's has is theirs to say.
        Some(url) => {
            settings.retain(|name, _| name != WORKER_DATABASE_URL && name != API_DATABASE_URL);
            url
        }
        None => {
            let owner = ensure_database(&admin_url, "orchestration").await?;
            let roles = RoleUrls { owner: owner.clone(), ..RoleUrls::of(&owner, "orchestration")? };
            roles.create(&owner).await?;
            settings.insert(WORKER_DATABASE_URL.to_owned(), roles.worker);
            settings.insert(API_DATABASE_URL.to_owned(), roles.api);
            owner
        }
    };
    let fixed = [
        ("DATABASE_URL", database_url.as_str()),
        ("KAFKA_BOOTSTRAP_SERVERS", kafka),
        ("AIRFLOW_URL", &airflow.url),
        ("AIRFLOW_USERNAME", &airflow.username),
        ("AIRFLOW_PASSWORD", &airflow.password),
        ("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true"),
        ("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0"),
        ("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0"),
    ];
    settings.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings
        .entry("ORCHESTRATION_SEALING_KEYS".to_owned())
        .or_insert_with(|| base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 32]>()));
    env_file::write(&settings)?;
    Ok(settings)
}

/// Everything that a binary of ours needs to be started: the real parts, the settings, the build, the schema.
pub(crate) async fn ready() -> Result<DemoSettings> {
    // First, since nothing else takes so little time to find missing.
    postgres().await?;
    let settings = prepare_settings(&kafka().await?, &airflow().await?).await?;
    build().await?;
    migrate(&settings).await?;
    Ok(settings)
}

/// Brings the database's schema up to date.
pub(crate) async fn migrate(settings: &DemoSettings) -> Result<()> {
    administer(settings, &["migrate"]).await.context("the database cannot be migrated").map(drop)
}

/// Builds both binaries, cargo's own output shown; with the features that this very program was built with.
pub(crate) async fn build() -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--bin", "orchestration-api", "--bin", "orchestration-worker"]);
    if binary_folder()?.ends_with("release") {
        command.arg("--release");
    }
    let status = tokio::task::spawn_blocking(move || command.status()).await?.context("cannot run cargo")?;
    if !status.success() {
        bail!("the worker and the API do not build: see above");
    }
    Ok(())
}

/// The folder with both binaries, built if they are older than their sources. Where all tests are run, cargo has just
/// built them, and asked for them alone it would build them again with fewer features.
pub async fn tested_binaries() -> Result<PathBuf> {
    let _lock = service::lock("programs").await?;
    let folder = binary_folder()?;
    let sources = ["Cargo.lock", "migrations", "shared", "worker/src", "api/src"];
    let changed = last_change(&sources.map(|source| paths::workspace().join(source)));
    let is_fresh = |name: &str| modified(&folder.join(name)).is_some_and(|built| built > changed);
    if !["orchestration-api", "orchestration-worker"].into_iter().all(is_fresh) {
        build().await?;
    }
    Ok(folder)
}

/// When the youngest of all files below these places was written.
fn last_change(places: &[PathBuf]) -> SystemTime {
    let below = |place: &PathBuf| -> Vec<PathBuf> {
        std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let youngest = places.iter().map(|place| {
        if place.is_dir() {
            last_change(&below(place))
        } else {
            modified(place).unwrap_or(SystemTime::UNIX_EPOCH)
        }
    });
    youngest.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

/// Cargo, on this workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::workspace()).stdin(Stdio::null());
    // What cargo told this program about itself would look to build scripts like a change, and cost minutes.
    for (name, _) in std::env::vars_os() {
        if is_about_a_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo sets this variable for each package it builds or runs, unlike the settings of cargo itself.
fn is_about_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

/// Runs the API's binary with these arguments; the JSON it prints.
pub(crate) async fn command_line(settings: &DemoSettings, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = std::iter::once("--json").chain(arguments.iter().copied()).collect();
    let said = administer(settings, &arguments).await?;
    serde_json::from_str(&said)
        .with_context(|| format!("`orchestration-api {}` said no JSON", arguments.join(" ")))
}

async fn administer(settings: &DemoSettings, arguments: &[&str]) -> Result<String> {
    let mut command = command(&binary_folder()?.join("orchestration-api"), settings)?;
    command.args(arguments);
    tools::run(command).await
}

/// Starts the API unless it runs; its port. A port that is asked for is the one or none.
pub(crate) async fn start_api(settings: &DemoSettings, wanted: Option<u16>) -> Result<u16> {
    let service = LocalService::named("api");
    let elsewhere = |port: u16| service.running().is_some_and(|record| record.port != port);
    if is_outdated(&service) || wanted.is_some_and(elsewhere) {
        service.stop().await?;
    }
    let prepare = async || {
        let port = match wanted {
            Some(port) if !ports::is_free(port) => {
                bail!("port {port} is taken by another program: choose another with --port, or leave it out")
            }
            Some(port) => port,
            None => service.choose_port(DEFAULT_API_PORT)?,
        };
        let mut command =
            command_as(API_DATABASE_URL, &binary_folder()?.join("orchestration-api"), settings)?;
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    Ok(service.ensure(prepare, api_is_healthy).await?.port)
}

/// Starts the worker unless it runs; the port of its metrics.
pub(crate) async fn start_worker(settings: &DemoSettings) -> Result<u16> {
    let service = LocalService::named("worker");
    if is_outdated(&service) {
        service.stop().await?;
    }
    let prepare = async || {
        let port = service.choose_port(DEFAULT_METRICS_PORT)?;
        let mut command =
            command_as(WORKER_DATABASE_URL, &binary_folder()?.join("orchestration-worker"), settings)?;
        command.arg("run").env("ORCHESTRATION_METRICS_LISTEN", format!("127.0.0.1:{port}"));
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    Ok(service.ensure(prepare, worker_is_healthy).await?.port)
}

/// Whether the API and what it rests on answer.
pub(crate) async fn api_is_healthy(port: u16) -> bool {
    answers_ok(&format!("http://127.0.0.1:{port}/readyz")).await
}

/// Whether the worker and its database answer.
pub(crate) async fn worker_is_healthy(port: u16) -> bool {
    answers_ok(&format!("http://127.0.0.1:{port}/readyz")).await
}

async fn answers_ok(url: &str) -> bool {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build() else {
        return false;
    };
    client.get(url).send().await.is_ok_and(|response| response.status().is_success())
}

/// Whether it runs a binary that has been built anew since.
fn is_outdated(service: &LocalService) -> bool {
    let Some(record) = service.running() else { return false };
    let binary = std::fs::read_link(format!("/proc/{}/exe", record.process.pid));
    binary.is_ok_and(|path| path.to_string_lossy().ends_with(" (deleted)"))
}

fn command(binary: &Path, settings: &DemoSettings) -> Result<Command> {
    let mut command = Command::new(binary);
    command.current_dir(paths::local_folder("")?).envs(settings);
    Ok(command)
}

/// The same with the role whose URL this setting holds, if there is one.
fn command_as(database_url: &str, binary: &Path, settings: &DemoSettings) -> Result<Command> {
    let mut command = command(binary, settings)?;
    if let Some(url) = settings.get(database_url) {
        command.env("DATABASE_URL", url);
    }
    Ok(command)
}

/// Where cargo put this program it puts the others; a test's own lies one folder further in.
fn binary_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let folder = program.parent().context("this program lies nowhere")?;
    let outer = folder.parent().filter(|_| folder.ends_with("deps"));
    Ok(outer.unwrap_or(folder).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_cargo_itself_reach_a_build_and_those_of_a_package_do_not() {
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!is_about_a_package(name), "{name}");
        }
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS", "CARGO_CRATE_NAME"] {
            assert!(is_about_a_package(name), "{name}");
        }
    }
}
