//! Metrics of pipelines: a materialized cache of the SQL function `run_metrics` for the default window.
//! Each row carries its validity, so that a reader recognises a stale row and never waits for a refresh.

use sqlx::PgPool;

/// The window of the cached metrics, in days. Metrics of any other window are computed on request.
pub const WINDOW_DAYS: i32 = 30;

/// Advisory lock of the refresh: one at a time, since two would compute the same rows ("metric" in ASCII).
const REFRESH_LOCK: i64 = 0x6d65_7472_6963;
/// A small batch, so that a statement locks no row for long.
const BATCH_SIZE: i64 = 200;

/// Recomputes a batch of rows that are stale because runs changed or the window moved; returns how many there
/// were. Also zero while another refresh is running.
///
/// A row that changes meanwhile gets the revision that was counted, and therefore stays due.
pub async fn refresh(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let acquired: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(REFRESH_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !acquired {
        return Ok(0);
    }
    let counted = sqlx::query(
        "with due as materialized (
             select pipeline_id, revision from pipeline_metrics
             where counted_revision is distinct from revision or valid_until < now() limit $2)
         update pipeline_metrics cached set
             counted_revision = due.revision,
             valid_until = coalesce(m.oldest_at + $1 * interval '24 hours', 'infinity'),
             run_count = m.run_count, success_count = m.success_count, failed_count = m.failed_count,
             running_count = m.running_count, queued_count = m.queued_count,
             avg_duration_seconds = m.avg_duration_seconds, percentiles = m.percentiles,
             last_success_at = m.last_success_at, last_failure_at = m.last_failure_at
         from due cross join lateral run_metrics(due.pipeline_id, now() - $1 * interval '24 hours', false) m
         where cached.pipeline_id = due.pipeline_id",
    )
    .bind(WINDOW_DAYS)
    .bind(BATCH_SIZE)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(counted.rows_affected())
}
