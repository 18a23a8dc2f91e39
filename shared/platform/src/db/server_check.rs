//! What a program needs of PostgreSQL besides the schema: a session that is its own, and connections enough.
//! It is checked at the start, because a pooler that shares sessions breaks single statements later.

use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::periodic::Periodic;

/// How often the check is repeated until PostgreSQL answers.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Another client of the pooler may take the shared session between two statements of one attempt.
const ATTEMPTS: usize = 3;

/// Why PostgreSQL cannot be used in the way in which it is reached.
#[derive(Debug, thiserror::Error)]
pub enum ServerCheckError {
    #[error(
        "DATABASE_URL leads to a connection pooler in transaction or statement mode, whose clients share \
         sessions, but prepared statements, locks and notifications belong to one session. Set \
         pool_mode = session for this database in the pooler, or connect to PostgreSQL itself"
    )]
    SharedSessions,
    #[error("PostgreSQL could not be checked")]
    Database(#[from] sqlx::Error),
}

/// Checks the server of these pools of one process as soon as it answers. Logs a warning if it has too few
/// connections for them.
///
/// # Errors
/// When clients share sessions. A server that does not answer is no error: it is checked when it does.
pub async fn check_server(pools: &[&PgPool], stop: &CancellationToken) -> Result<(), ServerCheckError> {
    let Some(pool) = pools.first() else { return Ok(()) };
    let needed = pools.iter().map(|pool| i64::from(pool.options().get_max_connections())).sum();
    let mut attempts = Periodic::new(RETRY_INTERVAL, stop.clone());
    while attempts.next().await {
        match timeout(CHECK_TIMEOUT, check_once(pool, needed)).await {
            Ok(Err(ServerCheckError::Database(error))) => {
                tracing::warn!(%error, "PostgreSQL not checked; retrying");
            }
            Ok(checked) => return checked,
            Err(_) => tracing::warn!("PostgreSQL not checked in time; retrying"),
        }
    }
    Ok(())
}

async fn check_once(pool: &PgPool, needed: i64) -> Result<(), ServerCheckError> {
    check_sessions(pool).await?;
    let mut db = pool.connect_options().connect().await?;
    let ConnectionCounts { limit, open } = count_connections(&mut db).await?;
    if limit - open < needed {
        tracing::warn!(
            limit,
            open,
            needed,
            "too few connections to PostgreSQL: raise max_connections or the limit of the role, or lower \
             ORCHESTRATION_DATABASE_CONNECTIONS"
        );
    }
    Ok(db.close().await?)
}

/// Checks that a session belongs to the client that opened it.
///
/// # Errors
/// When clients share sessions, or PostgreSQL does not answer.
pub async fn check_sessions(pool: &PgPool) -> Result<(), ServerCheckError> {
    let options = pool.connect_options();
    let (mut first, mut second) = (options.connect().await?, options.connect().await?);
    for _ in 0..ATTEMPTS {
        if are_sessions_shared(&mut first, &mut second).await? {
            return Err(ServerCheckError::SharedSessions);
        }
    }
    first.close().await?;
    Ok(second.close().await?)
}

/// Marks the session of one client, and looks for the mark in the session that a transaction of another one
/// gets, and again in its own. Only text statements are used, which a pooler forwards in every mode.
async fn are_sessions_shared(first: &mut PgConnection, second: &mut PgConnection) -> sqlx::Result<bool> {
    let mark = Uuid::new_v4().to_string();
    let set = format!("set orchestration.session = '{mark}'");
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *first).await?;
    // The transaction keeps a session of PostgreSQL busy, so that the first client gets another one if they
    // are shared.
    let begun = sqlx::raw_sql("begin").execute(&mut *second).await;
    if let Err(sqlx::Error::Database(_)) = begun {
        // In statement mode transactions are refused.
        return Ok(true);
    }
    begun?;
    let is_shared =
        read_mark(second).await?.as_ref() == Some(&mark) || read_mark(first).await?.as_ref() != Some(&mark);
    sqlx::raw_sql("rollback").execute(second).await?;
    Ok(is_shared)
}

async fn read_mark(db: &mut PgConnection) -> sqlx::Result<Option<String>> {
    let row = sqlx::raw_sql("select current_setting('orchestration.session', true)").fetch_one(db).await?;
    row.try_get(0)
}

/// How many connections PostgreSQL permits to this role and database, and how many are open.
#[derive(sqlx::FromRow)]
struct ConnectionCounts {
    limit: i64,
    open: i64,
}

async fn count_connections(db: &mut PgConnection) -> sqlx::Result<ConnectionCounts> {
    sqlx::query_as(
        "select least(
             current_setting('max_connections')::bigint
                 - current_setting('superuser_reserved_connections')::bigint
                 - coalesce(current_setting('reserved_connections', true)::bigint, 0),
             (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
             (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
         ) as \"limit\",
         (select count(*) from pg_stat_activity where datid is not null and pid <> pg_backend_pid()) as open",
    )
    .fetch_one(db)
    .await
}
