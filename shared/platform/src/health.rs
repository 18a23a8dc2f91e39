//! Readiness: whether PostgreSQL and Kafka respond.

use std::time::Duration;

use sqlx::PgPool;

use crate::kafka::KafkaProbe;

const POSTGRES_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks both servers, each within two seconds.
///
/// # Errors
/// One sentence that says which of them does not respond.
pub async fn check_readiness(pool: &PgPool, kafka: &KafkaProbe) -> Result<(), &'static str> {
    match tokio::join!(is_postgres_reachable(pool), kafka.is_reachable()) {
        (true, true) => Ok(()),
        (false, true) => Err("PostgreSQL does not answer"),
        (true, false) => Err("Kafka does not answer"),
        (false, false) => Err("PostgreSQL and Kafka do not answer"),
    }
}

async fn is_postgres_reachable(pool: &PgPool) -> bool {
    let query = sqlx::query("select 1").execute(pool);
    matches!(tokio::time::timeout(POSTGRES_TIMEOUT, query).await, Ok(Ok(_)))
}
