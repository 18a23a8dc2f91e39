//! The way to PostgreSQL: the pool, the migrations, and the rights of the roles. What is asked over it is for the
//! stores and projections.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};

use contract::events::Observation;

/// How to reach PostgreSQL.
#[derive(Args, Clone, Debug)]
pub struct DatabaseConfig {
    /// PostgreSQL connection URL, postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Most connections held open to PostgreSQL
    #[arg(long, env = "ORCHESTRATION_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,

    /// Seconds that one SQL statement may take before it is given up
    #[arg(long, env = "ORCHESTRATION_STATEMENT_TIMEOUT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub statement_timeout: u32,
}

/// The roles that the worker and the API connect with, where they have roles of their own (`deploy/roles.sql`).
#[derive(Args, Clone, Debug)]
pub struct Roles {
    /// PostgreSQL role of the worker, granted what it needs if it exists
    #[arg(long, env = "ORCHESTRATION_WORKER_ROLE", default_value = "orchestration_worker")]
    pub worker_role: String,

    /// PostgreSQL role of the API, granted what it needs if it exists
    #[arg(long, env = "ORCHESTRATION_API_ROLE", default_value = "orchestration_api")]
    pub api_role: String,
}

/// How long a connection that answered is taken to be alive.
const TRUSTED: Duration = Duration::from_secs(1);

/// Opens a pool without waiting for the server: a database that is away at start-up is a state, not an end.
///
/// # Errors
/// When the URL cannot be read.
pub fn pool(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    let seconds = config.statement_timeout;
    let options: PgConnectOptions = config.database_url.expose_secret().parse()?;
    let options = options.application_name(application).options([
        ("statement_timeout", format!("{seconds}s")),
        ("idle_in_transaction_session_timeout", format!("{}s", seconds.saturating_mul(2))),
        ("tcp_user_timeout", format!("{}", seconds.saturating_mul(1000))),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_secs(300))
        // A round trip before every statement would cost as much as most statements do.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options))
}

/// How long a migration waits for a lock. Whoever comes behind it in the queue waits as long; then it steps back, lets
/// them pass, and tries again.
const LOCK_WAIT: &str = "2s";
const LOCK_TRIES: usize = 60;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// Whoever holds it migrates ("migrate" in ASCII).
const MIGRATION_LOCK: i64 = 0x006d_6967_7261_7465;

/// Brings the schema up to date, while the version before goes on working. Safe to call from many processes at once.
///
/// # Errors
/// When the server is away, or a migration does not apply.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    migrate_by(&sqlx::migrate!("../../migrations"), pool).await
}

/// Applies what of these migrations has not been applied.
///
/// # Errors
/// When the server is away, or a migration does not apply.
pub async fn migrate_by(migrations: &Migrator, pool: &PgPool) -> Result<(), MigrateError> {
    // Its settings and its lock end with it.
    let mut db = pool.acquire().await?.detach();
    sqlx::raw_sql("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        .execute(&mut db)
        .await?;
    // Who waited within a statement would hold up an index that is made concurrently.
    while !sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(MIGRATION_LOCK)
        .fetch_one(&mut db)
        .await?
    {
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    for migration in migrations.iter() {
        step(migrations, migration, &mut db).await?;
    }
    db.close().await?;
    Ok(())
}

async fn step(
    migrations: &Migrator,
    migration: &Migration,
    db: &mut PgConnection,
) -> Result<(), MigrateError> {
    let mut tries = 0;
    loop {
        prepare(migration, db).await?;
        match migrations.run_direct(Some(migration.version), db, false).await {
            Err(MigrateError::ExecuteMigration(error, version))
                if is_lock_timeout(&error) && tries < LOCK_TRIES =>
            {
                tries += 1;
                tracing::info!(version, tries, "a migration waits for others to end their work");
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            outcome => return outcome,
        }
    }
}

/// A migration outside of a transaction makes an index concurrently: it waits for others without being in their way, and
/// one that was interrupted has left half an index.
async fn prepare(migration: &Migration, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let wait = if migration.no_tx { "0" } else { LOCK_WAIT };
    sqlx::query("select set_config('lock_timeout', $1, false)").bind(wait).execute(&mut *db).await?;
    if !migration.no_tx {
        return Ok(());
    }
    let halves: Vec<String> = sqlx::query_scalar(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid
         where not i.indisvalid and c.relnamespace = 'public'::regnamespace and strpos($1, c.relname) > 0",
    )
    .bind(migration.sql.as_str())
    .fetch_all(&mut *db)
    .await?;
    for half in halves {
        let statement = format!("drop index concurrently {half}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    Ok(())
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

/// Grants the roles what they need in the schema and takes everything else from them; tells which of them exist.
/// Nobody who is at work notices: it is one transaction.
///
/// # Errors
/// When the server is away, or the schema belongs to somebody else.
pub async fn grant(pool: &PgPool, roles: &Roles) -> Result<Vec<String>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    for (setting, role) in
        [("orchestration.worker_role", &roles.worker_role), ("orchestration.api_role", &roles.api_role)]
    {
        sqlx::query("select set_config($1, $2, true)").bind(setting).bind(role).execute(&mut *tx).await?;
    }
    sqlx::raw_sql(include_str!("../../../migrations/grants.sql")).execute(&mut *tx).await?;
    let found =
        sqlx::query_scalar("select rolname::text from pg_roles where rolname in ($1, $2) order by rolname")
            .bind(&roles.worker_role)
            .bind(&roles.api_role)
            .fetch_all(&mut *tx)
            .await?;
    tx.commit().await?;
    Ok(found)
}

/// Whether an error means that the role may not do what was asked.
pub fn is_denied(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "42501")
}

/// What who typed a command can do about its error, where the database is behind it.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = successors(Some(error), |&error| error.source());
    match causes.find_map(|cause| cause.downcast_ref::<sqlx::Error>())? {
        sqlx::Error::Configuration(_) => Some("DATABASE_URL is not a PostgreSQL URL"),
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => {
            Some("PostgreSQL does not answer; check DATABASE_URL and that it is up")
        }
        sqlx::Error::Database(fault) if fault.code().as_deref() == Some("42P01") => {
            Some("The schema is missing; run `orchestration-api migrate` first")
        }
        denied if is_denied(denied) => {
            Some("This takes the owner of the schema; set DATABASE_URL to the owner's for this command")
        }
        _ => None,
    }
}

/// Marks the moment before a page is asked for. The version comes from a sequence, so that it orders observations of
/// all workers without their clocks; the time is PostgreSQL's, to the microsecond that it can keep.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn observe(pool: &PgPool) -> Result<Observation, sqlx::Error> {
    let (version, at) =
        sqlx::query_as("select nextval('observation_version'), clock_timestamp()").fetch_one(pool).await?;
    Ok(Observation { version, at })
}
