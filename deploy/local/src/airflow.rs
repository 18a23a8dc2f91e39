//! Real Apache Airflow servers on loopback, each with its metadata database in the local PostgreSQL.
//! `programs` sets a server up, `release` holds the differences between releases, `client` sends requests,
//! `seed` writes synthetic DAGs with their history, and `history` ended runs of existing DAGs.

mod client;
mod history;
mod programs;
mod release;
mod seed;

use std::path::Path;

use anyhow::{Context, Result};

pub use self::client::{AirflowApi, AirflowServer};
pub(crate) use self::history::seed_runs_every;
pub use self::history::{SeedRuns, seed_runs};
use self::programs::{AirflowPrograms, AirflowSecrets, START_TIMEOUT, database};
pub use self::release::AirflowVersion;
pub use self::seed::{Seed, seed_airflow};
use crate::process::Stop;
use crate::service::{Launch, LocalService};
use crate::settings::setting;
use crate::{paths, tools};

const DEFAULT_PORT: u16 = 18080;

/// Which processes and data a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowRole {
    /// All processes, with our example DAGs.
    Full,
    /// All processes. Every start begins without DAGs and history, for a test that adds its own DAGs.
    Blank,
    /// Only the API server. It needs little memory, and the data in its database does not change by itself.
    ApiOnly,
}

/// The configuration of an Airflow server.
#[derive(Clone, Debug)]
pub struct AirflowSetup {
    /// The name of the service, its folder and its database: letters, digits and `-`.
    pub name: String,
    /// The release.
    pub version: AirflowVersion,
    /// The processes and data.
    pub role: AirflowRole,
}

/// Makes sure that an Airflow 3 with a scheduler and the example DAGs runs: the server of `AIRFLOW_URL`,
/// `AIRFLOW_USERNAME` and `AIRFLOW_PASSWORD` if the first is set, else the local one, which is started if
/// necessary.
pub async fn airflow() -> Result<AirflowServer> {
    let Some(url) = external_airflow() else {
        return local_airflow().await;
    };
    let required = |name| setting(name).with_context(|| format!("AIRFLOW_URL is set, so set {name} too"));
    let airflow = AirflowServer::at(url, required("AIRFLOW_USERNAME")?, required("AIRFLOW_PASSWORD")?);
    airflow.check_login().await.context("the Airflow of AIRFLOW_URL cannot be used")?;
    Ok(airflow)
}

/// Returns `AIRFLOW_URL`, unless it names the server that was started here (as in `.local/demo.env`).
pub(crate) fn external_airflow() -> Option<String> {
    let ours =
        LocalService::named("airflow").record().map(|record| format!("http://127.0.0.1:{}", record.port));
    setting("AIRFLOW_URL").filter(|url| Some(url.trim_end_matches('/')) != ours.as_deref())
}

/// Makes sure that the shared local server runs, regardless of `AIRFLOW_URL`.
pub async fn local_airflow() -> Result<AirflowServer> {
    let name = "airflow".to_owned();
    airflow_instance(&AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::Full }).await
}

/// Makes sure that a separate server runs. Its database is kept when it stops.
pub async fn airflow_instance(setup: &AirflowSetup) -> Result<AirflowServer> {
    let healthy =
        async |port| is_healthy(&format!("http://127.0.0.1:{port}"), setup.version, setup.role).await;
    let record = LocalService::named(&setup.name).ensure(async || launch(setup).await, healthy).await?;
    let folder = paths::local_folder(&setup.name)?;
    let secrets = AirflowSecrets::of(&folder)?;
    let mut airflow =
        AirflowServer::at(format!("http://127.0.0.1:{}", record.port), "admin".to_owned(), secrets.admin);
    airflow.api = setup.version.api();
    airflow.viewer = Some(("viewer".to_owned(), secrets.viewer));
    airflow.database_url = Some(database(&setup.name).await?);
    airflow.dags_folder = Some(folder.join("dags"));
    Ok(airflow)
}

/// Runs a command of Airflow's command line on a server that was started here, and returns its output.
pub async fn airflow_command(setup: &AirflowSetup, arguments: &[&str]) -> Result<String> {
    let record = LocalService::named(&setup.name).running();
    let record = record.with_context(|| format!("{} does not run", setup.name))?;
    let mut command = AirflowPrograms::of(setup, record.port).await?.airflow(&database(&setup.name).await?);
    command.args(arguments);
    tools::run(command).await
}

/// Returns whether a server answers at this URL and reports all processes of this role as healthy.
pub(crate) async fn is_healthy(url: &str, version: AirflowVersion, role: AirflowRole) -> bool {
    let Some(health) = client::health(url, version.api()).await else { return false };
    let is_healthy = |process: &str| health[process]["status"] == "healthy";
    is_healthy("metadatabase")
        && (role == AirflowRole::ApiOnly || version.reporting_processes().iter().all(|name| is_healthy(name)))
}

async fn launch(setup: &AirflowSetup) -> Result<Launch> {
    let port = LocalService::named(&setup.name).choose_port(DEFAULT_PORT)?;
    let programs = AirflowPrograms::of(setup, port).await?;
    prepare_dags(setup.role, &programs.dags_folder())?;
    if setup.version.api() == AirflowApi::V2 {
        programs.write_passwords()?;
    }
    let database = match setup.role {
        AirflowRole::Full | AirflowRole::ApiOnly => programs.kept_database().await?,
        AirflowRole::Blank => programs.blank_database().await?,
    };
    let mut command = programs.command(Path::new("sh"), &database);
    command.args(["-c", setup.version.processes(setup.role)]);
    Ok(Launch { command, port, timeout: START_TIMEOUT, stop: Stop::Group })
}

fn prepare_dags(role: AirflowRole, dags: &Path) -> Result<()> {
    if role == AirflowRole::Blank && dags.exists() {
        std::fs::remove_dir_all(dags).with_context(|| format!("cannot empty {}", dags.display()))?;
    }
    std::fs::create_dir_all(dags).with_context(|| format!("cannot create {}", dags.display()))?;
    match role {
        AirflowRole::Full => copy_examples(dags),
        AirflowRole::Blank | AirflowRole::ApiOnly => Ok(()),
    }
}

fn copy_examples(dags: &Path) -> Result<()> {
    let examples = paths::asset("airflow/dags");
    let entries =
        std::fs::read_dir(&examples).with_context(|| format!("cannot read {}", examples.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "py")
            && let Some(name) = path.file_name()
        {
            std::fs::copy(&path, dags.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
