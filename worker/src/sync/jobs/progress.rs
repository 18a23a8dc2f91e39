//! How far the syncs of a lease have come: the cursor, and the histories that were read.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Job;
use crate::sync::SyncError;

/// Moves the cursor of a sync that goes on: what changed before it is published, or will be read as history.
pub async fn move_cursor(pool: &PgPool, job: &Job, cursor: DateTime<Utc>) -> Result<(), SyncError> {
    let set =
        sqlx::query("update connector_state set cursor_at = $3 where connector_id = $1 and lease_epoch = $2")
            .bind(job.connector_id)
            .bind(job.epoch)
            .bind(cursor)
            .execute(pool)
            .await?;
    if set.rows_affected() == 1 { Ok(()) } else { Err(SyncError::LeaseLost) }
}

/// Notes that a pipeline's history has been read through.
pub async fn note_crawl(
    pool: &PgPool,
    job: &Job,
    pipeline: &str,
    began: DateTime<Utc>,
) -> Result<(), SyncError> {
    let noted = sqlx::query(
        "insert into pipeline_crawls (connector_id, external_id, crawled_at, history_days)
         select connector_id, $3, $4, $5 from connector_state where connector_id = $1 and lease_epoch = $2
         on conflict (connector_id, external_id) do update
             set crawled_at = excluded.crawled_at, history_days = excluded.history_days",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(pipeline)
    .bind(began)
    .bind(i32::from(job.config.history_days))
    .execute(pool)
    .await?;
    if noted.rows_affected() == 1 { Ok(()) } else { Err(SyncError::LeaseLost) }
}

/// Lets the histories of these pipelines be read anew.
pub async fn forget_crawls(pool: &PgPool, job: &Job, pipelines: &[&String]) -> Result<(), SyncError> {
    sqlx::query(
        "update pipeline_crawls set crawled_at = null where connector_id = $1 and external_id = any($2)",
    )
    .bind(job.connector_id)
    .bind(pipelines)
    .execute(pool)
    .await?;
    Ok(())
}
