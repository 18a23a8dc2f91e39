//! Waiting for a condition: the one polling loop of the tests.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgPool};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls until the condition holds, and panics with `what` when it does not within the timeout.
pub async fn eventually(what: &str, timeout: Duration, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Polls until a query returns true. An error counts as false: some tests stop the server meanwhile.
pub async fn eventually_true(db: &PgPool, timeout: Duration, query: &str) {
    let is_true = async || {
        let query = sqlx::query_scalar::<_, Option<bool>>(AssertSqlSafe(query.to_owned()));
        query.fetch_one(db).await.ok().flatten() == Some(true)
    };
    eventually(query, timeout, is_true).await;
}
