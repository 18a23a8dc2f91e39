//! Builds, configures and starts our own worker and API as local services.

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

/// Settings with the database URLs of the worker's and the API's own roles, where such roles exist.
const WORKER_DATABASE_URL: &str = "ORCHESTRATION_WORKER_DATABASE_URL";
const API_DATABASE_URL: &str = "ORCHESTRATION_API_DATABASE_URL";

/// Writes the settings of the worker and the API to `.local/demo.env`. Other settings in the file are kept.
pub(crate) async fn prepare_settings(kafka: &str, airflow: &AirflowServer) -> Result<DemoSettings> {
    let admin_url = postgres().await?;
    let mut settings = env_file::read()?;
    let database_url = match external_postgres() {
        // The roles of an external server are managed by its operator.
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

/// Prepares everything that our binaries need: PostgreSQL, Kafka, Airflow, the settings, the build and the
/// schema.
pub(crate) async fn prepare() -> Result<DemoSettings> {
    // PostgreSQL comes first, because a missing PostgreSQL is detected fastest.
    postgres().await?;
    let settings = prepare_settings(&kafka().await?, &airflow().await?).await?;
    build().await?;
    migrate(&settings).await?;
    Ok(settings)
}

/// Migrates the database's schema.
pub(crate) async fn migrate(settings: &DemoSettings) -> Result<()> {
    administer(settings, &["migrate"]).await.context("the database cannot be migrated").map(drop)
}

/// Builds both binaries in the profile that this program was built with. Cargo's output is shown.
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

/// Returns the folder with both binaries, which are built if they are older than their sources. When all
/// tests are run, cargo has already built them; an unconditional build of the two alone would rebuild them
/// with fewer features.
pub async fn tested_binaries() -> Result<PathBuf> {
    let _lock = service::lock("programs").await?;
    let folder = binary_folder()?;
    let sources = ["Cargo.lock", "migrations", "shared", "worker/src", "api/src"];
    let changed = newest_change(&sources.map(|source| paths::workspace().join(source)));
    let is_fresh = |name: &str| modified(&folder.join(name)).is_some_and(|built| built > changed);
    if !["orchestration-api", "orchestration-worker"].into_iter().all(is_fresh) {
        build().await?;
    }
    Ok(folder)
}

/// Returns when the newest file at or below these paths was modified.
pub(crate) fn newest_change(paths: &[PathBuf]) -> SystemTime {
    let entries = |folder: &PathBuf| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let changes = paths.iter().map(|path| {
        if path.is_dir() {
            newest_change(&entries(path))
        } else {
            modified(path).unwrap_or(SystemTime::UNIX_EPOCH)
        }
    });
    changes.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns when a file was modified; none if there is no such file.
pub(crate) fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

/// Returns a cargo command that works on this workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::workspace()).stdin(Stdio::null());
    // Build scripts would treat the package variables of this program as a change, and rebuild for minutes.
    for (name, _) in std::env::vars_os() {
        if is_package_variable(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns whether cargo sets this variable for each package that it builds or runs, unlike its own settings.
fn is_package_variable(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

/// Runs the API's binary with these arguments and returns the JSON that it prints.
pub(crate) async fn command_line(settings: &DemoSettings, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = std::iter::once("--json").chain(arguments.iter().copied()).collect();
    let output = administer(settings, &arguments).await?;
    serde_json::from_str(&output)
        .with_context(|| format!("`orchestration-api {}` printed no JSON", arguments.join(" ")))
}

async fn administer(settings: &DemoSettings, arguments: &[&str]) -> Result<String> {
    let mut command = command(&binary_folder()?.join("orchestration-api"), settings)?;
    command.args(arguments);
    tools::run(command).await
}

/// Starts the API unless it runs, and returns its port. A requested port that is in use is an error.
pub(crate) async fn start_api(settings: &DemoSettings, requested: Option<u16>) -> Result<u16> {
    let service = LocalService::named("api");
    let elsewhere = |port: u16| service.running().is_some_and(|record| record.port != port);
    if is_outdated(&service) || requested.is_some_and(elsewhere) {
        service.stop().await?;
    }
    let prepare = async || {
        let port = match requested {
            Some(port) if !ports::is_free(port) => {
                bail!("port {port} is taken by another program: choose another with --port, or leave it out")
            }
            Some(port) => port,
            None => service.choose_port(DEFAULT_API_PORT)?,
        };
        let mut command =
            command_as(API_DATABASE_URL, &binary_folder()?.join("orchestration-api"), settings)?;
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        if settings.contains_key("ORCHESTRATION_OIDC_ISSUER") {
            command.env("ORCHESTRATION_PUBLIC_URL", format!("http://127.0.0.1:{port}"));
        }
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    Ok(service.ensure(prepare, api_is_healthy).await?.port)
}

/// Starts the worker unless it runs, and returns the port of its metrics.
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
        if let Some(url) = settings.get("ORCHESTRATION_URL") {
            command.env("ORCHESTRATION_PUBLIC_URL", url);
        }
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    Ok(service.ensure(prepare, worker_is_healthy).await?.port)
}

/// Returns whether the API and its dependencies answer.
pub(crate) async fn api_is_healthy(port: u16) -> bool {
    answers_ok(&format!("http://127.0.0.1:{port}/readyz")).await
}

/// Returns whether the worker and its database answer.
pub(crate) async fn worker_is_healthy(port: u16) -> bool {
    answers_ok(&format!("http://127.0.0.1:{port}/readyz")).await
}

pub(crate) async fn answers_ok(url: &str) -> bool {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build() else {
        return false;
    };
    client.get(url).send().await.is_ok_and(|response| response.status().is_success())
}

/// Returns whether the service runs a binary that has been rebuilt since its start.
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

/// Like [`command`], with the database URL from the setting `database_url` if that is present.
fn command_as(database_url: &str, binary: &Path, settings: &DemoSettings) -> Result<Command> {
    let mut command = command(binary, settings)?;
    if let Some(url) = settings.get(database_url) {
        command.env("DATABASE_URL", url);
    }
    Ok(command)
}

/// Returns the folder into which cargo puts the binaries. Test programs are in its subfolder `deps`.
fn binary_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let folder = program.parent().context("this program has no folder")?;
    let outer = folder.parent().filter(|_| folder.ends_with("deps"));
    Ok(outer.unwrap_or(folder).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_settings_are_kept_and_package_variables_are_removed() {
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!is_package_variable(name), "{name}");
        }
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS", "CARGO_CRATE_NAME"] {
            assert!(is_package_variable(name), "{name}");
        }
    }
}
