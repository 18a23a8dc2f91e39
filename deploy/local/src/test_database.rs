//! A new, migrated database for every test, copied from a template that is migrated once per set of
//! migrations. It has the roles of an installation, so that tests run with the same privileges.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::paths;
use crate::postgres::{connect, database_url, postgres};
use crate::roles::{self, RoleUrls};

/// Maximum age of a test database. Older ones are dropped by later tests.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);
/// Key of the advisory lock for creating templates and dropping old databases ("orchest" in ASCII).
const LOCK: i64 = 0x006f_7263_6865_7374;
const TEMPLATE_PREFIX: &str = "orchestration_template_";
const TEST_PREFIX: &str = "orchestration_test_";
/// Prefix of the roles. It differs from that of an installation, which may use the same server.
const ROLES: &str = "orchestration_test";

/// The database of one test, with all migrations applied. It is kept for an hour, for inspection.
#[derive(Clone)]
pub struct TestDatabase {
    /// The URL with the role of the owner.
    pub url: String,
    /// The URL with the worker's role.
    pub worker_url: String,
    /// The URL with the API's role.
    pub api_url: String,
    /// Connections of the owner, at most 8.
    pub pool: PgPool,
}

/// Creates a migrated database for one test, on [`postgres`].
pub async fn test_database() -> Result<TestDatabase> {
    let admin_url = postgres().await?;
    let mut admin = connect(&admin_url).await?;
    drop_old_databases(&mut admin).await?;
    let migrations = migrations().await?;
    let template = template_name(&migrations)?;
    let name = test_name(Utc::now().timestamp());
    let create = format!("create database {name} template {template}");
    let mut created = execute(&mut admin, &create).await;
    if created.as_ref().is_err_and(is_unknown_database) {
        create_template(&mut admin, &admin_url, &template, &migrations).await?;
        created = execute(&mut admin, &create).await;
    }
    created.with_context(|| format!("cannot create a test database from {template}"))?;
    let roles = RoleUrls::of(&database_url(&admin_url, &name)?, ROLES)?;
    // Privileges within a database are copied from its template; privileges on the database are not.
    let privileges = format!(
        "revoke all on database {name} from public; grant connect, create on database {name} to {ROLES}_owner;
         grant connect on database {name} to {ROLES}_worker, {ROLES}_api"
    );
    execute(&mut admin, &privileges).await?;
    admin.close().await?;
    let pool = test_pool(&roles.owner)?;
    Ok(TestDatabase { url: roles.owner, worker_url: roles.worker, api_url: roles.api, pool })
}

/// Returns a pool of at most 8 connections, which are opened on demand.
pub fn test_pool(url: &str) -> Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(20));
    Ok(options.connect_lazy_with(url.parse::<PgConnectOptions>()?))
}

async fn migrations() -> Result<Migrator> {
    let folder = paths::workspace().join("migrations");
    let read = Migrator::new(folder.as_path()).await;
    read.with_context(|| format!("cannot read the migrations in {}", folder.display()))
}

/// Returns the name of the template. It changes with every migration and with the scripts of the roles.
fn template_name(migrations: &Migrator) -> Result<String> {
    let mut recipe: Vec<u8> =
        migrations.iter().flat_map(|migration| migration.checksum.iter().copied()).collect();
    recipe.extend(roles::scripts()?.bytes());
    let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &recipe);
    Ok(format!("{TEMPLATE_PREFIX}{}", hash.simple()))
}

/// Returns a unique name that contains the time of creation as a Unix timestamp.
fn test_name(seconds: i64) -> String {
    format!("{TEST_PREFIX}{seconds}_{}", uuid::Uuid::new_v4().simple())
}

/// Parses the time of creation from the name of a test database.
fn created_at(test_name: &str) -> Option<i64> {
    test_name.strip_prefix(TEST_PREFIX)?.split('_').next()?.parse().ok()
}

/// Creates the template under another name and renames it when it is complete, so that an incomplete template
/// is never copied.
async fn create_template(
    admin: &mut PgConnection,
    admin_url: &str,
    template: &str,
    migrations: &Migrator,
) -> Result<()> {
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *admin).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(template)
        .fetch_one(&mut *admin)
        .await?;
    if !exists {
        let draft = test_name(Utc::now().timestamp());
        execute(admin, &format!("create database {draft}")).await?;
        let draft_url = database_url(admin_url, &draft)?;
        let roles = RoleUrls::of(&draft_url, ROLES)?;
        roles.create(&draft_url).await?;
        let mut owner = connect(&roles.owner).await?;
        migrations
            .run_direct(None, &mut owner, false)
            .await
            .context("a migration fails on an empty database")?;
        roles.grant(&mut owner).await?;
        owner.close().await?;
        execute(admin, &format!("alter database {draft} rename to {template}")).await?;
        // Connections are forbidden, because a database in use cannot be copied.
        execute(admin, &format!("alter database {template} allow_connections false")).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(admin).await?;
    Ok(())
}

/// Drops test databases older than [`MAX_AGE`], once per process. If another process does so now, this one
/// skips it.
async fn drop_old_databases(admin: &mut PgConnection) -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let locked: bool =
        sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut *admin).await?;
    if !locked {
        return Ok(());
    }
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where starts_with(datname, $1)")
            .bind(TEST_PREFIX)
            .fetch_all(&mut *admin)
            .await?;
    let oldest = (Utc::now() - MAX_AGE).timestamp();
    for name in names.iter().filter(|name| created_at(name).is_some_and(|created| created < oldest)) {
        execute(admin, &format!("drop database if exists {name} with (force)")).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(admin).await?;
    Ok(())
}

/// Executes a statement without parameters. The names in it must not come from outside this crate.
async fn execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

fn is_unknown_database(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "3D000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_time_is_parsed_from_names_of_test_databases_only() {
        assert_eq!(created_at(&test_name(1_700_000_000)), Some(1_700_000_000));
        assert_eq!(created_at("orchestration"), None);
        assert_eq!(created_at("orchestration_test_mine"), None);
        assert!(test_name(9_999_999_999).len() < 64, "PostgreSQL would cut the name");
    }

    #[tokio::test]
    async fn concurrent_tests_get_separate_migrated_databases() {
        let databases = tokio::try_join!(test_database(), test_database(), test_database()).unwrap();
        let (first, second, _) = databases;
        assert_ne!(first.url, second.url);
        let query = "select count(*) from information_schema.tables where table_name = '_sqlx_migrations'";
        let migrated: i64 = sqlx::query_scalar(query).fetch_one(&first.pool).await.unwrap();
        assert_eq!(migrated, 1);
    }
}
