//! Real Apache Airflow servers on loopback, each in its own virtual environment with its metadata in our
//! PostgreSQL. How one is set up is in `programs`, what differs between releases in `release`, the way to talk to one
//! in `client`, made-up history in `seed`.

mod client;
mod programs;
mod release;
mod seed;

use std::path::Path;

use anyhow::{Context, Result};

pub use self::client::{AirflowApi, AirflowServer};
use self::programs::{AirflowPrograms, AirflowSecrets, START_TIMEOUT, database};
pub use self::release::AirflowVersion;
pub use self::seed::{Seed, seed_airflow};
use crate::process::Stop;
use crate::service::{Launch, LocalService};
use crate::{paths, tools};

const DEFAULT_PORT: u16 = 18080;

/// Which of Airflow's processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowRole {
    /// All of them, with our example DAGs.
    Full,
    /// All of them, with no DAGs and no history at every start: for a test that brings its own.
    Blank,
    /// Only the API server, over whatever its database holds: light, and nothing changes by itself.
    ApiOnly,
}

/// One Airflow server to be had.
#[derive(Clone, Debug)]
pub struct AirflowSetup {
    /// Names the service, its folder and its database: letters, digits and `-`.
    pub name: String,
    /// The release.
    pub version: AirflowVersion,
    /// The processes.
    pub role: AirflowRole,
}

/// Makes sure that an Airflow 3 with a scheduler and the example DAGs runs: the one of `AIRFLOW_URL`,
/// `AIRFLOW_USERNAME` and `AIRFLOW_PASSWORD` when the first is set, else our own, started if it does not run yet.
pub async fn airflow() -> Result<AirflowServer> {
    let Some(url) = external_airflow() else {
        return local_airflow().await;
    };
    let needed = |name| {
        crate::settings::setting(name).with_context(|| format!("AIRFLOW_URL is set, so set {name} too"))
    };
    let airflow = AirflowServer::at(url, needed("AIRFLOW_USERNAME")?, needed("AIRFLOW_PASSWORD")?);
    airflow.check_login().await.context("the Airflow of AIRFLOW_URL cannot be used")?;
    Ok(airflow)
}

/// `AIRFLOW_URL`, unless it names our own server (as it does where `.local/demo.env` was read in).
pub(crate) fn external_airflow() -> Option<String> {
    let ours =
        LocalService::named("airflow").record().map(|record| format!("http://127.0.0.1:{}", record.port));
    crate::settings::setting("AIRFLOW_URL").filter(|url| Some(url.trim_end_matches('/')) != ours.as_deref())
}

/// Our own shared server, whatever `AIRFLOW_URL` says.
pub async fn local_airflow() -> Result<AirflowServer> {
    let name = "airflow".to_owned();
    airflow_instance(&AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::Full }).await
}

/// A server of its own, apart from the one that everybody shares. The database it uses is kept when it stops.
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

/// Runs a command of Airflow's own command line on a server that was started here; its output.
pub async fn airflow_command(setup: &AirflowSetup, arguments: &[&str]) -> Result<String> {
    let record = LocalService::named(&setup.name).running();
    let record = record.with_context(|| format!("{} does not run", setup.name))?;
    let mut command = AirflowPrograms::of(setup, record.port).await?.airflow(&database(&setup.name).await?);
    command.args(arguments);
    tools::run(command).await
}

/// Whether a server answers there and says that the parts of this role are well.
pub(crate) async fn is_healthy(url: &str, version: AirflowVersion, role: AirflowRole) -> bool {
    let Some(health) = client::health(url, version.api()).await else { return false };
    let well = |part: &str| health[part]["status"] == "healthy";
    well("metadatabase") && (role == AirflowRole::ApiOnly || version.parts().iter().all(|part| well(part)))
}

async fn launch(setup: &AirflowSetup) -> Result<Launch> {
    let port = LocalService::named(&setup.name).choose_port(DEFAULT_PORT)?;
    let programs = AirflowPrograms::of(setup, port).await?;
    lay_out_dags(setup.role, &programs.dags_folder())?;
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

fn lay_out_dags(role: AirflowRole, dags: &Path) -> Result<()> {
    if role == AirflowRole::Blank && dags.exists() {
        std::fs::remove_dir_all(dags).with_context(|| format!("cannot empty {}", dags.display()))?;
    }
    std::fs::create_dir_all(dags).with_context(|| format!("cannot make {}", dags.display()))?;
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
