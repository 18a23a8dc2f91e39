//! A fresh, migrated database for every test, copied from a template that is migrated once for each set of
//! migrations. It has the roles that an installation has: what is tested runs with the rights it will have there.

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

/// Databases of tests older than this are dropped by later tests.
const KEEP: TimeDelta = TimeDelta::hours(1);
/// The advisory lock under which templates are made and old databases dropped ("orchest" in ASCII).
const LOCK: i64 = 0x006f_7263_6865_7374;
const TEMPLATE_PREFIX: &str = "orchestration_template_";
const TEST_PREFIX: &str = "orchestration_test_";
/// Apart from an installation's own, should there be one on the same server.
const ROLES: &str = "orchestration_test";

/// A database of its own, with all migrations applied. It stays for an hour, to be looked at.
#[derive(Clone)]
pub struct TestDatabase {
    /// Where it is, with the role that owns it.
    pub url: String,
    /// The same with the worker's role.
    pub worker_url: String,
    /// The same with the API's role.
    pub api_url: String,
    /// A few connections for its owner.
    pub pool: PgPool,
}

/// Makes a migrated database for one test, on [`postgres`].
pub async fn test_database() -> Result<TestDatabase> {
    let admin_url = postgres().await?;
    let mut admin = connect(&admin_url).await?;
    drop_old_databases(&mut admin).await?;
    let migrations = migrations().await?;
    let template = template_name(&migrations)?;
    let name = test_name(Utc::now().timestamp());
    let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
    let mut created = execute(&mut admin, &create).await;
    if created.as_ref().is_err_and(is_unknown_database) {
        make_template(&mut admin, &admin_url, &template, &migrations).await?;
        created = execute(&mut admin, &create).await;
    }
    created.with_context(|| format!("cannot make a test database from {template}"))?;
    let roles = RoleUrls::of(&database_url(&admin_url, &name)?, ROLES)?;
    // The rights in a database are copied from its template, those on it are not.
    let rights = format!(
        "REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT, CREATE ON DATABASE {name} TO {ROLES}_owner;
         GRANT CONNECT ON DATABASE {name} TO {ROLES}_worker, {ROLES}_api"
    );
    execute(&mut admin, &rights).await?;
    admin.close().await?;
    let pool = test_pool(&roles.owner)?;
    Ok(TestDatabase { url: roles.owner, worker_url: roles.worker, api_url: roles.api, pool })
}

/// A few connections, opened when they are needed.
pub fn test_pool(url: &str) -> Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(20));
    Ok(options.connect_lazy_with(url.parse::<PgConnectOptions>()?))
}

async fn migrations() -> Result<Migrator> {
    let folder = paths::workspace().join("migrations");
    let read = Migrator::new(folder.as_path()).await;
    read.with_context(|| format!("cannot read the migrations in {}", folder.display()))
}

/// Another template for every change of any migration, or of the roles.
fn template_name(migrations: &Migrator) -> Result<String> {
    let mut recipe: Vec<u8> =
        migrations.iter().flat_map(|migration| migration.checksum.iter().copied()).collect();
    recipe.extend(roles::scripts()?.bytes());
    let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &recipe);
    Ok(format!("{TEMPLATE_PREFIX}{}", hash.simple()))
}

/// Says when it was made, so that a later run can tell its age.
fn test_name(seconds: i64) -> String {
    format!("{TEST_PREFIX}{seconds}_{}", uuid::Uuid::new_v4().simple())
}

fn made_at(test_name: &str) -> Option<i64> {
    test_name.strip_prefix(TEST_PREFIX)?.split('_').next()?.parse().ok()
}

/// Migrated under another name and renamed when it is whole, so that an interrupted attempt is never copied.
async fn make_template(
    admin: &mut PgConnection,
    admin_url: &str,
    template: &str,
    migrations: &Migrator,
) -> Result<()> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *admin).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(template)
        .fetch_one(&mut *admin)
        .await?;
    if !exists {
        let draft = test_name(Utc::now().timestamp());
        execute(admin, &format!("CREATE DATABASE {draft}")).await?;
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
        execute(admin, &format!("ALTER DATABASE {draft} RENAME TO {template}")).await?;
        // Nobody may connect, since a database in use cannot be copied.
        execute(admin, &format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")).await?;
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(admin).await?;
    Ok(())
}

/// Once per process; by one process at a time, the others go on.
async fn drop_old_databases(admin: &mut PgConnection) -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let alone: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut *admin).await?;
    if !alone {
        return Ok(());
    }
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE starts_with(datname, $1)")
            .bind(TEST_PREFIX)
            .fetch_all(&mut *admin)
            .await?;
    let oldest = (Utc::now() - KEEP).timestamp();
    for name in names.iter().filter(|name| made_at(name).is_some_and(|made| made < oldest)) {
        execute(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(admin).await?;
    Ok(())
}

/// For statements that take no parameters; the names in them are our own.
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
    fn a_test_database_says_its_age_and_nothing_else_does() {
        assert_eq!(made_at(&test_name(1_700_000_000)), Some(1_700_000_000));
        assert_eq!(made_at("orchestration"), None);
        assert_eq!(made_at("orchestration_test_mine"), None);
        assert!(test_name(9_999_999_999).len() < 64, "PostgreSQL would cut the name");
    }

    #[tokio::test]
    async fn tests_get_a_database_each_even_all_at_once() {
        let databases = tokio::try_join!(test_database(), test_database(), test_database()).unwrap();
        let (first, second, _) = databases;
        assert_ne!(first.url, second.url);
        let query = "SELECT count(*) FROM information_schema.tables WHERE table_name = '_sqlx_migrations'";
        let migrated: i64 = sqlx::query_scalar(query).fetch_one(&first.pool).await.unwrap();
        assert_eq!(migrated, 1);
    }
}
