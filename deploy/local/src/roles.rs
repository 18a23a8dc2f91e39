//! The PostgreSQL roles of an installation, made as an operator makes them, by `deploy/roles.sql`. What each may do is
//! in `migrations/grants.sql`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use sqlx::{AssertSqlSafe, PgConnection};
use url::Url;

use crate::postgres::postgres_program;
use crate::{paths, tools};

/// The way into one database for each role.
#[derive(Clone, Debug)]
pub struct RoleUrls {
    /// Owns the schema: migrates, administers, sets up.
    pub owner: String,
    pub worker: String,
    pub api: String,
}

impl RoleUrls {
    /// The roles of a database whose names begin with `prefix`. Their passwords follow from that of `url`, so that
    /// every process here knows them.
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
                Err(()) => bail!("DATABASE_URL names no server to make roles on"),
            }
        };
        Ok(Self { owner: role("owner")?, worker: role("worker")?, api: role("api")? })
    }

    /// Makes them, as whoever `admin_url` lets in there, or gives them their passwords again.
    pub async fn make(&self, admin_url: &str) -> Result<()> {
        let mut admin = parse(admin_url)?;
        let admin_password =
            percent_decode_str(admin.password().unwrap_or_default()).decode_utf8()?.into_owned();
        // A URL with a password would show in the list of processes.
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
        tools::run(psql).await.context("the roles of PostgreSQL cannot be made").map(drop)
    }

    /// Grants them what they may do in a migrated schema, as its owner.
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

/// What the roles and their rights are made of, to know when that has changed.
pub(crate) fn recipe() -> Result<String> {
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
