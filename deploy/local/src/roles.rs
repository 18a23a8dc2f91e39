//! The PostgreSQL roles of an installation. As an operator would, it creates them with `deploy/roles.sql`;
//! their privileges are in `migrations/grants.sql`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use sqlx::{AssertSqlSafe, PgConnection};
use url::Url;

use crate::postgres::postgres_program;
use crate::{paths, tools};

/// URLs of one database, one per role.
#[derive(Clone, Debug)]
pub struct RoleUrls {
    /// The role that owns the schema: it migrates and administers.
    pub owner: String,
    /// The worker's role.
    pub worker: String,
    /// The API's role.
    pub api: String,
}

impl RoleUrls {
    /// Returns the URLs of a database's roles, whose names begin with `prefix`. Their passwords are derived
    /// from the password in `url`, so that every process on this machine computes the same ones.
    pub fn of(url: &str, prefix: &str) -> Result<Self> {
        let role = |part: &str| {
            let name = format!("{prefix}_{part}");
            let mut url = parse(url)?;
            let seed = format!("{name}:{}", url.password().unwrap_or_default());
            let password =
                uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, seed.as_bytes()).simple().to_string();
            let set = url.set_username(&name).and_then(|()| url.set_password(Some(&password)));
            match set {
                Ok(()) => Ok(url.to_string()),
                Err(()) => bail!("DATABASE_URL does not name a server on which roles can be created"),
            }
        };
        Ok(Self { owner: role("owner")?, worker: role("worker")?, api: role("api")? })
    }

    /// Creates the roles as the user of `admin_url`. Roles that exist get their passwords set again.
    pub async fn create(&self, admin_url: &str) -> Result<()> {
        let mut admin = parse(admin_url)?;
        let admin_password =
            percent_decode_str(admin.password().unwrap_or_default()).decode_utf8()?.into_owned();
        // The URL is visible in the process list, so it must not contain the password.
        admin.set_password(None).ok();
        let mut psql = Command::new(postgres_program("psql").await?);
        psql.args(["--no-psqlrc", "--quiet", "--no-password"]).arg("--file").arg(script());
        if !admin_password.is_empty() {
            psql.env("PGPASSWORD", &admin_password);
        }
        for (part, url) in [("owner", &self.owner), ("worker", &self.worker), ("api", &self.api)] {
            let role = parse(url)?;
            psql.arg("--set").arg(format!("{part}={}", role.username()));
            let setting = format!("ORCHESTRATION_{}_PASSWORD", part.to_uppercase());
            psql.env(setting, role.password().unwrap_or_default());
        }
        psql.arg(admin.as_str());
        tools::run(psql).await.context("cannot create the PostgreSQL roles").map(drop)
    }

    /// Grants the roles their privileges in a migrated schema. `owner` is a connection of its owner.
    pub async fn grant(&self, owner: &mut PgConnection) -> Result<()> {
        for (setting, url) in
            [("orchestration.worker_role", &self.worker), ("orchestration.api_role", &self.api)]
        {
            let role = parse(url)?.username().to_owned();
            sqlx::query("select set_config($1, $2, false)")
                .bind(setting)
                .bind(role)
                .execute(&mut *owner)
                .await?;
        }
        sqlx::raw_sql(AssertSqlSafe(read(&grants())?)).execute(owner).await?;
        Ok(())
    }
}

/// Returns the text of the scripts that create the roles and grant their privileges, to detect changes of it.
pub(crate) fn scripts() -> Result<String> {
    Ok(read(&script())? + &read(&grants())?)
}

fn script() -> PathBuf {
    paths::workspace().join("deploy/roles.sql")
}

fn grants() -> PathBuf {
    paths::workspace().join("migrations/grants.sql")
}

fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).context("DATABASE_URL is no URL (postgres://user:password@host/database)")
}
