//! `migrate`: brings the schema up to date and grants the roles their rights.

use std::time::{Duration, Instant};

use anyhow::Context;
use platform::db::{self, DatabaseConfig, Roles, ServerCheckError};
use sqlx::PgPool;

use crate::APPLICATION_NAME;

/// The pause before PostgreSQL is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Migrates the schema and prints the roles that have rights in it. Waits for PostgreSQL for some time.
pub(crate) async fn migrate(database: &DatabaseConfig, roles: &Roles, wait: Duration) -> anyhow::Result<()> {
    let pool = db::pool_of_long_statements(database, APPLICATION_NAME)?;
    wait_for_server(&pool, wait).await?;
    db::migrate(&pool).await.context("The schema could not be brought up to date")?;
    if !db::create_text_indexes(&pool).await.context("The indexes for text could not be created")? {
        println!(
            "The extension pg_trgm could not be created, so a search for text reads all runs or pipelines of \
             a space; let a superuser create it, and migrate again."
        );
    }
    let granted = db::grant(&pool, roles).await.context("The roles could not be granted their rights")?;
    match granted.as_slice() {
        [] => println!("The schema is up to date."),
        roles => println!("The schema is up to date, and open to {}.", roles.join(" and ")),
    }
    Ok(())
}

/// Returns once PostgreSQL answers, or when the time is over.
async fn wait_for_server(pool: &PgPool, wait: Duration) -> Result<(), ServerCheckError> {
    let began = Instant::now();
    loop {
        match db::check_sessions(pool).await {
            Err(ServerCheckError::Database(error)) if began.elapsed() < wait && is_away(&error) => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            checked => return checked,
        }
    }
}

/// Whether PostgreSQL is unreachable, or about to start or stop.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}
