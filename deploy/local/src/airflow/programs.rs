//! Runs the programs of an Airflow release for one server, with its settings, users and migrated database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde::{Deserialize, Serialize};
use sqlx::Connection;

use super::{AirflowApi, AirflowSetup, AirflowVersion};
use crate::postgres::{connect, copy_database, ensure_database, local_postgres};
use crate::{paths, progress, tools};

/// Maximum time of a start on a busy machine.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(1200);

/// The programs of one server.
pub(super) struct AirflowPrograms {
    name: String,
    version: AirflowVersion,
    environment: PathBuf,
    folder: PathBuf,
    port: u16,
    secrets: AirflowSecrets,
}

/// Passwords and keys of a server, generated once and stored in its folder.
#[derive(Serialize, Deserialize)]
pub(super) struct AirflowSecrets {
    pub admin: String,
    pub viewer: String,
    jwt: String,
    api: String,
    fernet: String,
}

impl AirflowPrograms {
    /// Returns the programs of the server that listens, or will listen, on this port.
    pub(super) async fn of(setup: &AirflowSetup, port: u16) -> Result<Self> {
        let name = setup.name.clone();
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            bail!("{name:?} cannot name an Airflow: use letters, digits and -");
        }
        let folder = paths::local_folder(&name)?;
        let secrets = AirflowSecrets::of(&folder)?;
        let environment = setup.version.environment().await?;
        Ok(Self { name, version: setup.version, environment, folder, port, secrets })
    }

    pub(super) fn dags_folder(&self) -> PathBuf {
        self.folder.join("dags")
    }

    /// Returns a command for Airflow's command line.
    pub(super) fn airflow(&self, database: &str) -> Command {
        self.command(&self.environment.join("bin/airflow"), database)
    }

    /// Returns a command for a program of the environment. Its environment variables are cleared first, so
    /// that it sees neither the settings of another Airflow nor our own `DATABASE_URL`.
    pub(super) fn command(&self, program: &Path, database: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear().envs(inherited());
        command.env("PATH", search_path(&self.environment));
        command.env("AIRFLOW_HOME", &self.folder).env("PYTHONWARNINGS", "ignore");
        for (name, value) in self.settings(database) {
            command.env(format!("AIRFLOW__{name}"), value);
        }
        command
    }

    /// Migrates the database of this server, keeps its data, and returns its URL.
    pub(super) async fn kept_database(&self) -> Result<String> {
        let database = database(&self.name).await?;
        self.migrate(&database).await?;
        Ok(database)
    }

    /// Replaces the database of this server with a copy of an empty, migrated one, and returns its URL.
    pub(super) async fn blank_database(&self) -> Result<String> {
        let template = format!("{}-blank", self.name);
        self.migrate(&database(&template).await?).await?;
        copy_database(&local_postgres().await?, &in_sql(&template), &in_sql(&self.name)).await
    }

    /// Runs Airflow's migration. It takes about ten seconds even without changes, so it is skipped if the
    /// database still has the revision to which this release migrated it.
    async fn migrate(&self, database: &str) -> Result<()> {
        let stamp = self.folder.join(format!("migrated-{}", self.version.number()));
        let revision = revision(database).await?;
        if revision.is_some() && revision == std::fs::read_to_string(&stamp).ok() {
            return Ok(());
        }
        progress::note(&format!("migrating the database of {} (some 10 s)", self.name));
        let mut migrate = self.airflow(database);
        migrate.args(["db", "migrate"]);
        tools::run(migrate).await?;
        if self.version.api() == AirflowApi::V1 {
            self.create_users(database).await?;
        }
        let reached = self::revision(database).await?.context("airflow db migrate stored no revision")?;
        paths::write_file(&stamp, &reached, 0o644)
    }

    /// Creates the users of Airflow 2, which are stored in the database. The default password hash costs 90
    /// ms of CPU time per request, so it is replaced by a cheaper one.
    async fn create_users(&self, database: &str) -> Result<()> {
        let mut roles = self.airflow(database);
        roles.arg("sync-perm");
        tools::run(roles).await?;
        let AirflowSecrets { admin, viewer, .. } = &self.secrets;
        for (name, role, password) in [("admin", "Admin", admin), ("viewer", "Viewer", viewer)] {
            let mut create = self.airflow(database);
            create.args(["users", "create", "--username", name, "--role", role, "--password", password]);
            create.args(["--firstname", name, "--lastname", name, "--email", &format!("{name}@localhost")]);
            tools::run(create).await?;
            let mut connection = connect(database).await?;
            sqlx::query("update ab_user set password = $2 where username = $1")
                .bind(name)
                .bind(self.cheap_hash(password).await?)
                .execute(&mut connection)
                .await?;
            connection.close().await?;
        }
        Ok(())
    }

    async fn cheap_hash(&self, password: &str) -> Result<String> {
        let hash = "import sys; from werkzeug.security import generate_password_hash as hash; \
                    print(hash(sys.argv[1], 'pbkdf2:sha256:1'))";
        let mut python = Command::new(self.environment.join("bin/python"));
        python.args(["-c", hash, password]);
        Ok(tools::run(python).await?.trim().to_owned())
    }

    /// Writes the file from which Airflow 3 reads the users' passwords.
    pub(super) fn write_passwords(&self) -> Result<()> {
        let users = serde_json::json!({"admin": self.secrets.admin, "viewer": self.secrets.viewer});
        paths::write_file(&self.passwords(), &users.to_string(), 0o600)
    }

    fn passwords(&self) -> PathBuf {
        self.folder.join("passwords.json")
    }

    /// Returns Airflow's settings for little memory and quick reactions: four task slots, one server process,
    /// and DAG files parsed within seconds.
    fn settings(&self, database: &str) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut settings = vec![
            ("CORE__EXECUTOR", "LocalExecutor".to_owned()),
            ("CORE__PARALLELISM", "4".to_owned()),
            ("CORE__LOAD_EXAMPLES", "False".to_owned()),
            ("CORE__DAGS_FOLDER", path(&self.dags_folder())),
            ("CORE__FERNET_KEY", self.secrets.fernet.clone()),
            ("CORE__DAGBAG_IMPORT_TIMEOUT", "300".to_owned()),
            ("SCHEDULER__TASK_QUEUED_TIMEOUT", "1800".to_owned()),
            ("DATABASE__SQL_ALCHEMY_CONN", database.replacen("postgres://", "postgresql+psycopg2://", 1)),
            ("LOGGING__LOGGING_LEVEL", "WARNING".to_owned()),
            ("USAGE_DATA_COLLECTION__ENABLED", "False".to_owned()),
        ];
        settings.extend(match self.version.api() {
            AirflowApi::V1 => self.airflow_2_settings(),
            AirflowApi::V2 => self.airflow_3_settings(),
        });
        settings.extend(
            self.version.intervals_and_timeouts().iter().map(|(name, value)| (*name, (*value).to_owned())),
        );
        settings
    }

    fn airflow_2_settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("API__AUTH_BACKENDS", "airflow.api.auth.backend.basic_auth".to_owned()),
            ("WEBSERVER__WEB_SERVER_HOST", "127.0.0.1".to_owned()),
            ("WEBSERVER__WEB_SERVER_PORT", self.port.to_string()),
            ("WEBSERVER__BASE_URL", self.url()),
            ("WEBSERVER__WORKERS", "1".to_owned()),
            ("WEBSERVER__SECRET_KEY", self.secrets.api.clone()),
            ("WEBSERVER__WEB_SERVER_MASTER_TIMEOUT", START_TIMEOUT.as_secs().to_string()),
        ]
    }

    fn airflow_3_settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,viewer:viewer".to_owned()),
            ("CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", self.passwords().to_string_lossy().into_owned()),
            ("CORE__EXECUTION_API_SERVER_URL", format!("{}/execution/", self.url())),
            ("API__HOST", "127.0.0.1".to_owned()),
            ("API__PORT", self.port.to_string()),
            ("API__BASE_URL", self.url()),
            ("API__WORKERS", "1".to_owned()),
            ("API__SECRET_KEY", self.secrets.api.clone()),
            ("API_AUTH__JWT_SECRET", self.secrets.jwt.clone()),
        ]
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl AirflowSecrets {
    /// Reads the secrets from a server's folder. They are generated at the first call.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let file = folder.join("secrets.json");
        if let Ok(text) = std::fs::read_to_string(&file) {
            return serde_json::from_str(&text).with_context(|| format!("cannot parse {}", file.display()));
        }
        // Fernet requires base64 with padding.
        let encoding = base64::engine::general_purpose::URL_SAFE;
        let random = |bytes: usize| encoding.encode(&rand::random::<[u8; 64]>()[..bytes]);
        let secrets = Self {
            admin: random(18),
            viewer: random(18),
            jwt: random(64),
            api: random(33),
            fernet: random(32),
        };
        paths::write_file(&file, &serde_json::to_string(&secrets)?, 0o600)?;
        Ok(secrets)
    }
}

/// Creates the database of the server of this name unless it exists, and returns its URL.
pub(super) async fn database(name: &str) -> Result<String> {
    ensure_database(&local_postgres().await?, &in_sql(name)).await
}

fn in_sql(name: &str) -> String {
    name.replace('-', "_")
}

async fn revision(database: &str) -> Result<Option<String>> {
    let mut connection = connect(database).await?;
    let exists: bool = sqlx::query_scalar("select to_regclass('alembic_version') is not null")
        .fetch_one(&mut connection)
        .await?;
    let revision = if exists {
        sqlx::query_scalar("select version_num from alembic_version").fetch_optional(&mut connection).await?
    } else {
        None
    };
    connection.close().await?;
    Ok(revision)
}

fn inherited() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| ["HOME", "USER", "LANG", "LC_ALL", "TMPDIR"].contains(&name.as_str()))
}

fn search_path(environment: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", environment.join("bin").display())
}
