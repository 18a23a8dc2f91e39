//! Whether PostgreSQL answers.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether PostgreSQL answers a query within two seconds.
pub async fn is_reachable(db: &PgPool) -> bool {
    let query = sqlx::query("select 1").execute(db);
    matches!(timeout(TIMEOUT, query).await, Ok(Ok(_)))
}
