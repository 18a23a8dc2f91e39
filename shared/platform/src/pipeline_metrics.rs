//! The metrics of pipelines: how they are counted (`run_metrics` in the migrations), and kept for the usual window.
//! Which rows are still right is told by the rows themselves, so that a reader never waits for the keeper.

use sqlx::PgPool;

/// The window whose metrics are kept, in days; those of any other are counted when somebody asks.
pub const WINDOW_DAYS: i32 = 30;

/// One keeper at a time: two would only count the same twice.
const KEEPER_LOCK: i64 = 0x6d65_7472_6963;
/// Few enough that a statement holds no row for long.
const BATCH: i64 = 200;

/// Counts anew what a change of runs, or time alone, has made wrong; tells how many pipelines there were. Zero too
/// while another keeper is at it.
///
/// A row that changes meanwhile gets the revision that was counted, and so stays due.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn refresh(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let mine: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(KEEPER_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !mine {
        return Ok(0);
    }
    let counted = sqlx::query(
        "with due as materialized (
             select pipeline_id, revision from pipeline_metrics
             where counted_revision is distinct from revision or valid_until < now() limit $2)
         update pipeline_metrics kept set
             counted_revision = due.revision,
             valid_until = coalesce(m.oldest_at + $1 * interval '24 hours', 'infinity'),
             run_count = m.run_count, success_count = m.success_count, failed_count = m.failed_count,
             running_count = m.running_count, queued_count = m.queued_count,
             avg_duration_seconds = m.avg_duration_seconds, percentiles = m.percentiles,
             last_success_at = m.last_success_at, last_failure_at = m.last_failure_at
         from due cross join lateral run_metrics(due.pipeline_id, now() - $1 * interval '24 hours', false) m
         where kept.pipeline_id = due.pipeline_id",
    )
    .bind(WINDOW_DAYS)
    .bind(BATCH)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(counted.rows_affected())
}
