//! Real Apache Airflow servers on loopback, each in its own virtual environment with its metadata in our
//! PostgreSQL. The way to talk to one is in `client`, made-up history in `seed`.

mod client;
mod seed;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde::{Deserialize, Serialize};

pub use self::{
    client::Airflow,
    seed::{Seed, seed_airflow},
};
use crate::{
    paths,
    postgres::{connect, ensure_database, local_postgres},
    process::Stop,
    progress, python,
    service::{Launch, Service},
    tools,
};

const USUAL_PORT: u16 = 18080;

/// A release of Airflow that can be started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowVersion {
    /// 3.3.2, the newest one tried.
    V3_3,
}

/// Which of Airflow's processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AirflowRole {
    /// All of them, with our example DAGs.
    Whole,
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

/// What an instance was given when it was first made, and keeps.
#[derive(Serialize, Deserialize)]
struct Secrets {
    admin: String,
    viewer: String,
    jwt: String,
    api: String,
    fernet: String,
}

/// Makes sure that an Airflow 3 with a scheduler and the example DAGs runs: the one of `AIRFLOW_URL`,
/// `AIRFLOW_USERNAME` and `AIRFLOW_PASSWORD` when the first is set, else our own, started if it does not run yet.
pub async fn airflow() -> Result<Airflow> {
    let Some(url) = external_airflow() else {
        return local_airflow().await;
    };
    let needed =
        |name| crate::setting(name).with_context(|| format!("AIRFLOW_URL is set, so set {name} too"));
    let airflow = Airflow::at(url, needed("AIRFLOW_USERNAME")?, needed("AIRFLOW_PASSWORD")?);
    airflow.token().await.context("the Airflow of AIRFLOW_URL cannot be used")?;
    Ok(airflow)
}

/// `AIRFLOW_URL`, unless it names our own server (as it does where `.local/demo.env` was read in).
pub(crate) fn external_airflow() -> Option<String> {
    let ours = Service::named("airflow").record().map(|record| format!("http://127.0.0.1:{}", record.port));
    crate::setting("AIRFLOW_URL").filter(|url| Some(url.trim_end_matches('/')) != ours.as_deref())
}

/// Our own shared server, whatever `AIRFLOW_URL` says.
pub async fn local_airflow() -> Result<Airflow> {
    let name = "airflow".to_owned();
    airflow_instance(&AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::Whole }).await
}

/// A server of its own, apart from the one that everybody shares. The database it uses is kept when it stops.
pub async fn airflow_instance(setup: &AirflowSetup) -> Result<Airflow> {
    let healthy = async |port| is_healthy(&format!("http://127.0.0.1:{port}"), setup.role).await;
    let record = Service::named(&setup.name).ensure(async || launch(setup).await, healthy).await?;
    let folder = paths::local_folder(&setup.name)?;
    let secrets = secrets(&folder)?;
    let mut airflow =
        Airflow::at(format!("http://127.0.0.1:{}", record.port), "admin".to_owned(), secrets.admin);
    airflow.viewer = Some(("viewer".to_owned(), secrets.viewer));
    airflow.database_url = Some(database(&setup.name).await?);
    airflow.dags_folder = Some(folder.join("dags"));
    Ok(airflow)
}

/// Whether a server answers there and says that the parts of this role are well.
pub(crate) async fn is_healthy(url: &str, role: AirflowRole) -> bool {
    let Some(health) = client::health(url).await else { return false };
    let well = |part: &str| health[part]["status"] == "healthy";
    well("metadatabase") && (role == AirflowRole::ApiOnly || (well("scheduler") && well("dag_processor")))
}

impl AirflowVersion {
    fn number(self) -> &'static str {
        match self {
            AirflowVersion::V3_3 => "3.3.2",
        }
    }

    /// Airflow 3's API server crashes on CPython 3.11 under repeated list requests.
    fn pythons(self) -> &'static [&'static str] {
        match self {
            AirflowVersion::V3_3 => &["3.12", "3.13"],
        }
    }

    async fn environment(self) -> Result<PathBuf> {
        let requirements = paths::asset(&format!("airflow/requirements-{}.txt", self.number()));
        python::environment(&format!("airflow-venv-{}", self.number()), self.pythons(), &requirements).await
    }
}

async fn launch(setup: &AirflowSetup) -> Result<Launch> {
    if !setup.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        bail!("{:?} cannot name an Airflow: use letters, digits and -", setup.name);
    }
    let environment = setup.version.environment().await?;
    let database = database(&setup.name).await?;
    let folder = paths::local_folder(&setup.name)?;
    let dags = folder.join("dags");
    std::fs::create_dir_all(&dags).with_context(|| format!("cannot make {}", dags.display()))?;
    if setup.role == AirflowRole::Whole {
        copy_examples(&dags)?;
    }
    let port = Service::named(&setup.name).choose_port(USUAL_PORT)?;
    let settings = settings(&folder, &database, port)?;
    let program = |name: &str| {
        let mut command = Command::new(name);
        command.current_dir(&folder).env_clear().envs(inherited()).envs(settings.iter().cloned());
        command.env("PATH", search_path(&environment));
        command
    };
    migrate(setup, &database, program(&environment.join("bin/airflow").to_string_lossy())).await?;
    let mut command = program("sh");
    command.args(["-c", processes(setup.role)]);
    Ok(Launch { command, port, patience: Duration::from_secs(180), stop: Stop::Group })
}

/// When one of the processes ends, all do: half an Airflow is no Airflow.
fn processes(role: AirflowRole) -> &'static str {
    match role {
        AirflowRole::ApiOnly => "exec airflow api-server",
        AirflowRole::Whole => {
            "(airflow scheduler --skip-serve-logs; kill 0) &
             (airflow dag-processor; kill 0) &
             (airflow triggerer --skip-serve-logs; kill 0) &
             (airflow api-server; kill 0) &
             wait"
        }
    }
}

async fn database(name: &str) -> Result<String> {
    ensure_database(&local_postgres().await?, &name.replace('-', "_")).await
}

/// Airflow's own migration takes some ten seconds even when there is nothing to do, so it is asked for only when
/// the database is not at the revision that this release left it at.
async fn migrate(setup: &AirflowSetup, database: &str, mut airflow: Command) -> Result<()> {
    let stamp = paths::local_path(&format!("{}/migrated-{}", setup.name, setup.version.number()))?;
    let revision = revision(database).await?;
    if revision.is_some() && revision == std::fs::read_to_string(&stamp).ok() {
        return Ok(());
    }
    progress::note(&format!("migrating the database of {} (some 10 s)", setup.name));
    airflow.args(["db", "migrate"]);
    tools::run(airflow).await?;
    let reached = self::revision(database).await?.context("airflow db migrate left no revision")?;
    paths::write_file(&stamp, &reached, 0o644)
}

async fn revision(database: &str) -> Result<Option<String>> {
    let mut connection = connect(database).await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('alembic_version') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT version_num FROM alembic_version").fetch_optional(&mut connection).await?)
}

/// Light and quick: one parser, four task slots, and changes of DAG files seen within seconds.
fn settings(folder: &Path, database: &str, port: u16) -> Result<Vec<(String, String)>> {
    let secrets = secrets(folder)?;
    let passwords = folder.join("passwords.json");
    let users = serde_json::json!({"admin": secrets.admin, "viewer": secrets.viewer});
    paths::write_file(&passwords, &users.to_string(), 0o600)?;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let base = format!("http://127.0.0.1:{port}");
    let settings = [
        ("CORE__EXECUTOR", "LocalExecutor".to_owned()),
        ("CORE__PARALLELISM", "4".to_owned()),
        ("CORE__LOAD_EXAMPLES", "False".to_owned()),
        ("CORE__DAGS_FOLDER", path(&folder.join("dags"))),
        ("CORE__FERNET_KEY", secrets.fernet),
        ("CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,viewer:viewer".to_owned()),
        ("CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", path(&passwords)),
        ("CORE__EXECUTION_API_SERVER_URL", format!("{base}/execution/")),
        ("DATABASE__SQL_ALCHEMY_CONN", database.replacen("postgres://", "postgresql+psycopg2://", 1)),
        ("API__HOST", "127.0.0.1".to_owned()),
        ("API__PORT", port.to_string()),
        ("API__BASE_URL", base),
        ("API__WORKERS", "1".to_owned()),
        ("API__SECRET_KEY", secrets.api),
        ("API_AUTH__JWT_SECRET", secrets.jwt),
        ("DAG_PROCESSOR__PARSING_PROCESSES", "1".to_owned()),
        ("DAG_PROCESSOR__REFRESH_INTERVAL", "2".to_owned()),
        ("DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL", "1".to_owned()),
        ("DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "10".to_owned()),
        ("DAG_PROCESSOR__STALE_DAG_THRESHOLD", "5".to_owned()),
        ("SCHEDULER__PARSING_CLEANUP_INTERVAL", "5".to_owned()),
        ("LOGGING__LOGGING_LEVEL", "WARNING".to_owned()),
        ("USAGE_DATA_COLLECTION__ENABLED", "False".to_owned()),
    ];
    let settings = settings.into_iter().map(|(name, value)| (format!("AIRFLOW__{name}"), value));
    let home = [("AIRFLOW_HOME", path(folder)), ("PYTHONWARNINGS", "ignore".to_owned())];
    Ok(settings.chain(home.map(|(name, value)| (name.to_owned(), value))).collect())
}

/// Nobody's settings of another Airflow, nor our own database, reach this one.
fn inherited() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| ["HOME", "USER", "LANG", "LC_ALL", "TMPDIR"].contains(&name.as_str()))
}

fn search_path(environment: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", environment.join("bin").display())
}

fn secrets(folder: &Path) -> Result<Secrets> {
    let file = folder.join("secrets.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return serde_json::from_str(&text).with_context(|| format!("cannot understand {}", file.display()));
    }
    // Fernet wants its 32 bytes with padding.
    let encoding = base64::engine::general_purpose::URL_SAFE;
    let random = |bytes: usize| encoding.encode(&rand::random::<[u8; 64]>()[..bytes]);
    let secrets = Secrets {
        admin: random(18),
        viewer: random(18),
        jwt: random(64),
        api: random(33),
        fernet: random(32),
    };
    paths::write_file(&file, &serde_json::to_string(&secrets)?, 0o600)?;
    Ok(secrets)
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
