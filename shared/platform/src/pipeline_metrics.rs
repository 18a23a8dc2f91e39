//! Counts and metrics of runs by pipeline, as the worker keeps them. A transaction that writes runs appends
//! to `run_changes`; a pass adds the changes to the counts, the days and the windows, and refreshes the
//! cached metrics of the default window. A reader adds the changes that are left, and so never waits for a
//! pass.

use sqlx::{PgConnection, PgPool};

/// The window of the cached metrics, in days. Metrics of any other window are computed on request.
pub const WINDOW_DAYS: i32 = 30;
/// The windows, in days, whose sums are stored.
pub const SUMMED_WINDOWS: [i32; 5] = [1, 7, 30, 90, 365];

/// Advisory lock of a pass: one at a time, since two would add to the same rows ("metric" in ASCII).
const PASS_LOCK: i64 = 0x6d65_7472_6963;
/// The number of changes that a pass adds.
const MAX_CHANGES: i64 = 10_000;
/// The number of pipelines whose metrics a pass refreshes.
const BATCH_SIZE: u64 = 200;

/// Adds a batch of changes, and recomputes a batch of metrics that are stale because runs changed or the
/// window moved. Returns whether more remains; also false while another pass is running.
pub async fn refresh(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let acquired: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(PASS_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !acquired {
        return Ok(false);
    }
    sqlx::query("select roll_run_windows()").execute(&mut *tx).await?;
    let changes_remain = add_changes(&mut tx).await?;
    let refreshed = if changes_remain { 0 } else { refresh_metrics(&mut tx).await? };
    tx.commit().await?;
    Ok(changes_remain || refreshed == BATCH_SIZE)
}

/// Adds a batch of changes; returns whether more may remain. Only one session may do this at a time.
pub async fn add_changes(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let added: i64 =
        sqlx::query_scalar("select add_run_changes($1)").bind(MAX_CHANGES).fetch_one(&mut *db).await?;
    if added > 0 {
        let empty = "delete from run_days where n = 0 and durations = 0 and duration_sum = 0";
        sqlx::query(empty).execute(&mut *db).await?;
    }
    Ok(added == MAX_CHANGES)
}

/// Recomputes a batch of stale rows; returns how many there were. A row whose runs change meanwhile keeps a
/// change that is not added yet, and therefore stays invalid.
async fn refresh_metrics(db: &mut PgConnection) -> Result<u64, sqlx::Error> {
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
    .bind(BATCH_SIZE as i64)
    .execute(db)
    .await?;
    Ok(counted.rows_affected())
}
