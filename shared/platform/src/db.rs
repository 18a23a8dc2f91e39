//! PostgreSQL: the connection pool, the migrations and the privileges of the roles. Queries belong to the
//! stores.

mod response_timer;
mod server_check;
mod text_index;
mod tunnel;

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use contract::events::Observation;

pub use self::server_check::{ServerCheckError, check_server, check_sessions};
pub use self::text_index::{IS_OTHER_RUN_ID, IS_SCHEDULED_RUN_ID, create_text_indexes};

/// How to reach PostgreSQL.
#[derive(Args, Clone, Debug)]
pub struct DatabaseConfig {
    /// PostgreSQL connection URL, postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Maximum number of open connections to PostgreSQL
    #[arg(
        long,
        env = "ORCHESTRATION_DATABASE_CONNECTIONS",
        default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(2..=1000)
    )]
    pub database_connections: u32,

    /// Timeout of one SQL statement, in seconds
    #[arg(
        long,
        env = "ORCHESTRATION_STATEMENT_TIMEOUT",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub statement_timeout: u32,
}

/// The PostgreSQL roles of the worker and the API, if they have roles of their own (`deploy/roles.sql`).
#[derive(Args, Clone, Debug)]
pub struct Roles {
    /// PostgreSQL role of the worker, which is granted its privileges if it exists
    #[arg(long, env = "ORCHESTRATION_WORKER_ROLE", default_value = "orchestration_worker")]
    pub worker_role: String,

    /// PostgreSQL role of the API, which is granted its privileges if it exists
    #[arg(long, env = "ORCHESTRATION_API_ROLE", default_value = "orchestration_api")]
    pub api_role: String,
}

/// A connection that was idle for longer is pinged before use.
const MAX_IDLE_WITHOUT_PING: Duration = Duration::from_secs(1);

/// How long a released connection may take to become ready for the next statement. It is closed after that:
/// the statement of a dropped call still runs on it.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(500);

/// How often PostgreSQL checks during a statement whether the connection is closed; if so, it cancels it.
const CHECK_CONNECTION: &str = "set client_connection_check_interval = '250ms'";

/// How much longer than the timeout of its statement a response may take before its connection is closed.
const RESPONSE_GRACE: Duration = Duration::from_secs(5);

impl DatabaseConfig {
    /// The maximum time until a response of PostgreSQL. PostgreSQL's own timeout ends a statement earlier.
    pub fn response_timeout(&self) -> Duration {
        Duration::from_secs(self.statement_timeout.into()) + RESPONSE_GRACE
    }
}

/// Opens a pool without waiting for the server, so that a process starts while the database is down. A
/// connection whose response is overdue is closed, and its call ends with an error. A statement whose call is
/// dropped is cancelled within a second.
///
/// # Errors
/// When the URL is invalid.
pub fn pool(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    open_pool(config, application, Some(config.response_timeout()))
}

/// Opens a pool for commands that raise the timeout of their statements: only an unreachable server ends a
/// call.
///
/// # Errors
/// When the URL is invalid.
pub fn pool_of_long_statements(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    open_pool(config, application, None)
}

/// Opens the pool of a command that ends by itself, whose server must answer.
///
/// # Errors
/// When clients share sessions, or PostgreSQL does not answer.
pub async fn pool_of_command(config: &DatabaseConfig, application: &str) -> Result<PgPool, ServerCheckError> {
    let pool = pool(config, application)?;
    check_sessions(&pool).await?;
    Ok(pool)
}

fn open_pool(
    config: &DatabaseConfig,
    application: &str,
    response_timeout: Option<Duration>,
) -> Result<PgPool, sqlx::Error> {
    let seconds = config.statement_timeout;
    let options: PgConnectOptions = config.database_url.expose_secret().parse()?;
    // A connection pooler refuses parameters at the start of a session that it does not know.
    let options = options.application_name(application).extra_float_digits(None);
    // Compiling a statement takes longer than executing those of these programs.
    let settings = format!(
        "set statement_timeout = '{seconds}s'; set idle_in_transaction_session_timeout = '{}s';
         set tcp_user_timeout = {}; set jit = off",
        seconds.saturating_mul(2),
        seconds.saturating_mul(1000)
    );
    let (options, tunnel) = tunnel::open(options, response_timeout)?;
    // The pool's own options hold the tunnel, so that it ends with the pool.
    let tunnel = Arc::new(tunnel);
    Ok(PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_secs(300))
        // A ping before every statement would cost as much as most statements.
        .test_before_acquire(false)
        .before_acquire(move |connection, state| {
            let _held = &tunnel;
            Box::pin(async move {
                if state.idle_for > MAX_IDLE_WITHOUT_PING {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| Box::pin(configure_session(connection, settings.clone())))
        .after_release(|connection, _| Box::pin(is_ready(connection)))
        .connect_lazy_with(options))
}

async fn configure_session(connection: &mut PgConnection, settings: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *connection).await?;
    match sqlx::raw_sql(CHECK_CONNECTION).execute(connection).await {
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(%error, "PostgreSQL cannot check its connections on this system");
            Ok(())
        }
        checked => checked.map(drop),
    }
}

/// Returns whether the connection is ready for the next statement.
async fn is_ready(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(RELEASE_TIMEOUT, connection.ping()).await {
        Ok(ready) => ready.map(|()| true),
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// The maximum time for which a migration waits for a table lock. Statements queued behind it wait as long;
/// then the migration gives up its place in the queue and retries.
const LOCK_TIMEOUT: &str = "2s";
const MAX_LOCK_RETRIES: usize = 60;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Advisory lock of the migrating process ("migrate" in ASCII).
const MIGRATION_LOCK: i64 = 0x006d_6967_7261_7465;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Returns the version of the last migration that this program was built with.
pub fn schema_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Applies all pending migrations, while the previous version keeps running. Safe to call from many processes
/// at once.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    apply_migrations(&MIGRATIONS, pool).await
}

/// Applies the pending migrations of this migrator.
pub async fn apply_migrations(migrations: &Migrator, pool: &PgPool) -> Result<(), MigrateError> {
    // The settings and the advisory lock end with this connection.
    let mut db = pool.acquire().await?.detach();
    sqlx::raw_sql("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        .execute(&mut db)
        .await?;
    // Waiting inside a statement would block `create index concurrently`.
    while !sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(MIGRATION_LOCK)
        .fetch_one(&mut db)
        .await?
    {
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    for migration in migrations.iter() {
        apply_with_retry(migrations, migration, &mut db).await?;
    }
    db.close().await?;
    Ok(())
}

async fn apply_with_retry(
    migrations: &Migrator,
    migration: &Migration,
    db: &mut PgConnection,
) -> Result<(), MigrateError> {
    let mut retries = 0;
    loop {
        prepare(migration, db).await?;
        match migrations.run_direct(Some(migration.version), db, false).await {
            Err(MigrateError::ExecuteMigration(error, version))
                if is_lock_timeout(&error) && retries < MAX_LOCK_RETRIES =>
            {
                retries += 1;
                tracing::info!(version, retries, "migration waits for a table lock");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

/// A migration outside of a transaction creates an index concurrently. It waits for other transactions
/// without blocking them, so it has no lock timeout; an invalid index that an interrupted attempt left behind
/// is dropped first.
async fn prepare(migration: &Migration, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock_timeout = if migration.no_tx { "0" } else { LOCK_TIMEOUT };
    sqlx::query("select set_config('lock_timeout', $1, false)").bind(lock_timeout).execute(&mut *db).await?;
    if !migration.no_tx {
        return Ok(());
    }
    let invalid_indexes: Vec<String> = sqlx::query_scalar(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid
         where not i.indisvalid and c.relnamespace = 'public'::regnamespace and strpos($1, c.relname) > 0",
    )
    .bind(migration.sql.as_str())
    .fetch_all(&mut *db)
    .await?;
    for index in invalid_indexes {
        let statement = format!("drop index concurrently {index}");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    Ok(())
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

/// Grants the roles the privileges that they need and revokes all others, in one transaction; returns the
/// roles that exist.
///
/// # Errors
/// Also when the connected role does not own the schema.
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

/// Whether the role lacks a privilege.
pub fn is_denied(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "42501")
}

/// Advice for an operator whose command failed because of the database.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = successors(Some(error), |&error| error.source());
    match causes.find_map(|cause| cause.downcast_ref::<sqlx::Error>())? {
        sqlx::Error::Configuration(_) => Some("DATABASE_URL is not a PostgreSQL URL"),
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => {
            Some("PostgreSQL does not answer; check DATABASE_URL and that it is up")
        }
        sqlx::Error::Database(error) if error.code().as_deref() == Some("42P01") => {
            Some("The schema is missing; run `orchestration-api migrate` first")
        }
        denied if is_denied(denied) => {
            Some("This takes the owner of the schema; set DATABASE_URL to the owner's for this command")
        }
        _ => None,
    }
}

/// Draws the observation for a request that is about to be sent to a provider. The version comes from a
/// sequence, which orders the observations of all workers independently of their clocks. The time is
/// PostgreSQL's, in microseconds.
pub async fn observe(pool: &PgPool) -> Result<Observation, sqlx::Error> {
    let (version, at) =
        sqlx::query_as("select nextval('observation_version'), clock_timestamp()").fetch_one(pool).await?;
    Ok(Observation { version, at })
}

/// Skips a billion observation versions, and returns where the sequence is: beyond all versions that were
/// published since the backup from which the database was restored.
pub async fn skip_observation_versions(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let skip = "select setval('observation_version', nextval('observation_version') + 1000000000)";
    sqlx::query_scalar(skip).fetch_one(pool).await
}
