//! `incident_changes`: the transitions of incidents that channels and watchers have not been notified of.

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// Advisory lock of the dispatcher: one at a time ("notify" in ASCII).
const DISPATCH_LOCK: i64 = 0x6e6f_7469_6679;

/// A transition of an incident that is not reported yet.
#[derive(Debug, FromRow)]
pub(crate) struct UnreportedChange {
    pub id: i64,
    pub incident_id: Uuid,
    pub change: String,
}

/// Acquires the lock of the dispatcher until the transaction ends; false while another worker holds it.
pub(crate) async fn lock_dispatch(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(DISPATCH_LOCK).fetch_one(db).await
}

/// Lists the oldest changes.
pub(crate) async fn list(db: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<UnreportedChange>> {
    sqlx::query_as("select id, incident_id, change from incident_changes order by id limit $1")
        .bind(limit)
        .fetch_all(db)
        .await
}

/// Deletes changes.
pub(crate) async fn delete(db: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("delete from incident_changes where id = any($1)").bind(ids).execute(db).await.map(drop)
}
