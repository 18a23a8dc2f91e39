//! The lengths of the queues (`sync_queue`, `outbox`, `dead_letters`, `notification_deliveries`), for
//! metrics.

use sqlx::PgExecutor;

#[derive(Default, sqlx::FromRow)]
pub(crate) struct QueueLengths {
    pub queued_syncs: i64,
    pub running_syncs: i64,
    /// Age in seconds of the oldest sync that is queued for a worker, and not for another sync of its
    /// connector.
    pub oldest_queued_seconds: f64,
    pub outbox_records: i64,
    pub oldest_outbox_seconds: f64,
    pub open_dead_letters: i64,
    pub pending_notifications: i64,
    pub oldest_notification_seconds: f64,
}

/// Counts the queues. Records of the outbox, dead letters and notifications are counted up to `limit`.
pub(crate) async fn find_lengths(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<QueueLengths> {
    sqlx::query_as(
        "select s.*, o.*, d.*, n.* from
             (select count(*) filter (where status = 'queued') as queued_syncs,
                  count(*) filter (where status = 'running') as running_syncs,
                  coalesce(extract(epoch from now() - min(requested_at) filter (
                      where status = 'queued' and not exists (
                          select from sync_queue busy
                          where busy.connector_id = open.connector_id and busy.status = 'running')
                  )), 0)::float8 as oldest_queued_seconds
              from sync_queue open) s,
             (select count(*) as outbox_records,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_outbox_seconds
              from (select created_at from outbox order by id limit $1) oldest) o,
             (select count(*) as open_dead_letters
              from (select from dead_letters where replayed_at is null limit $1) letters) d,
             (select count(*) as pending_notifications,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float8
                      as oldest_notification_seconds
              from (select created_at from notification_deliveries
                    where next_attempt_at is not null limit $1) pending) n",
    )
    .bind(limit)
    .fetch_one(db)
    .await
}
