//! The way to PostgreSQL: the pool and the migrations. What is asked over it is for the stores and projections.

use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::events::Observation;

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

/// Brings the schema up to date. Safe to call from many processes at once.
///
/// # Errors
/// When the server is away, or a migration does not apply.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    sqlx::migrate!("../migrations").run(pool).await
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
