//! How syncs end: all was read, something failed, a poll beside them was enough, or they were begun too often.

use contract::events::SyncReport;
use contract::ids::SyncId;
use platform::syncs::enqueue_sync_events;
use provider::ProviderError;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::{Job, Lease, note_lateness};
use crate::sync::{Polled, SyncError, Synced};

/// After so many failures in a row, schedules rest: a second first, then twice as long each time, up to a minute.
const TOLERATED_FAILURES: i32 = 3;
const REST_MOST_SECONDS: f64 = 60.0;

/// Ends a sync that read everything: moves the cursor, and tells.
pub async fn succeed(pool: &PgPool, job: &Job, synced: &Synced) -> Result<(), SyncError> {
    let mut tx = pool.begin().await?;
    let moved = sqlx::query(
        "update connector_state set cursor_at = $3, confirmed_at = $4, last_success_at = clock_timestamp(),
             credentials_refused_at = null, failures = 0, retry_at = null, lease_until = null
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(synced.polled.clock)
    .bind(synced.polled.began)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(SyncError::LeaseLost);
    }
    end(&mut tx, &job.syncs, None, &synced.report).await?;
    Ok(tx.commit().await?)
}

/// Ends a sync that did not: the cursor stays, and the reason is told. One whose lease is lost says nothing: whoever
/// holds the connector now goes on with its requests. One that was stopped goes back to the queue.
pub async fn fail(
    pool: &PgPool,
    lease: Lease,
    syncs: &[SyncId],
    error: &SyncError,
    report: &SyncReport,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let refused = matches!(error, SyncError::Provider(ProviderError::CredentialsRefused { .. }));
    let held = sqlx::query(
        "update connector_state set lease_until = null,
             credentials_refused_at = case when $3 then clock_timestamp() else credentials_refused_at end,
             failures = failures + $4,
             retry_at = clock_timestamp() + make_interval(secs => greatest($5, least($6, 2 ^ least(failures - $7, 16))))
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(refused)
    .bind(i32::from(!matches!(error, SyncError::Stopped)))
    .bind(error.retry_after().as_secs_f64())
    .bind(REST_MOST_SECONDS)
    .bind(TOLERATED_FAILURES)
    .execute(&mut *tx)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(());
    }
    if matches!(error, SyncError::Stopped) {
        requeue(&mut tx, syncs).await?;
    } else {
        end(&mut tx, syncs, Some(&error.to_string()), report).await?;
    }
    tx.commit().await
}

async fn requeue(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    let asked: Vec<Option<SyncId>> = sqlx::query_scalar(
        "update syncs set status = 'queued', started_at = null, attempts = attempts - 1,
             version = nextval('observation_version') where id = any($1)
         returning case when trigger = 'manual' then id end",
    )
    .bind(syncs)
    .fetch_all(&mut *db)
    .await?;
    enqueue_sync_events(db, &Vec::from_iter(asked.into_iter().flatten())).await
}

/// Writes the end of syncs, and tells of those that are news: asked for, fruitful, failed, or healed.
async fn end(
    db: &mut PgConnection,
    syncs: &[SyncId],
    error: Option<&str>,
    report: &SyncReport,
) -> Result<(), sqlx::Error> {
    let news: Vec<Option<SyncId>> = sqlx::query_scalar(
        "update syncs s set status = case when $2::text is null then 'succeeded' else 'failed' end,
             finished_at = clock_timestamp(), error = $2, report = $3, version = nextval('observation_version')
         where id = any($1) and status = 'running'
         returning case when trigger = 'manual' or $2 is not null or $4 or (
             select before.status = 'failed' from syncs before
             where before.connector_id = s.connector_id and before.status in ('succeeded', 'failed')
             order by before.requested_at desc limit 1) then id end",
    )
    .bind(syncs)
    .bind(error)
    .bind(Json(report))
    .bind(report.events_published > 0)
    .fetch_all(&mut *db)
    .await?;
    enqueue_sync_events(db, &Vec::from_iter(news.into_iter().flatten())).await
}

/// Notes a complete poll in the middle of a sync that reads histories, and ends the syncs that asked for no more than
/// this: a long one makes nobody wait.
pub async fn serve(pool: &PgPool, job: &Job, polled: &Polled, report: &SyncReport) -> Result<(), SyncError> {
    let mut tx = pool.begin().await?;
    let moved = sqlx::query(
        "update connector_state set cursor_at = $3, confirmed_at = $4 where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(polled.clock)
    .bind(polled.began)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(SyncError::LeaseLost);
    }
    let served: Vec<(SyncId, Option<f64>)> = sqlx::query_as(
        "update syncs set status = 'running', started_at = $2, attempts = attempts + 1
         where connector_id = $1 and status = 'queued' and not \"full\"
           and accepted_at is not null and greatest(requested_at, asked_at) <= $2
         returning id, extract(epoch from $2 - tick_at)::float8",
    )
    .bind(job.connector_id)
    .bind(polled.began)
    .fetch_all(&mut *tx)
    .await?;
    let (served, late): (Vec<_>, Vec<_>) = served.into_iter().unzip();
    end(&mut tx, &served, None, report).await?;
    note_lateness(late.into_iter().flatten());
    Ok(tx.commit().await?)
}

pub(super) async fn give_up(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    if syncs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update syncs set status = 'failed', finished_at = now(), version = nextval('observation_version'),
             error = 'The worker stopped in the middle of this sync five times; look at its log and memory.'
         where id = any($1)",
    )
    .bind(syncs)
    .execute(&mut *db)
    .await?;
    enqueue_sync_events(db, syncs).await
}
