//! The migrations that the database has.

use sqlx::PgPool;

/// Returns whether the migration with this version was applied.
pub async fn is_applied(db: &PgPool, version: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from _sqlx_migrations where version = $1 and success)")
        .bind(version)
        .fetch_one(db)
        .await
}
