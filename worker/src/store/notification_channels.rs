//! `notification_channels`: leases of channels with messages that are due, their pauses, and switching them
//! off.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ids::ChannelId;
use platform::notifications::ChannelType;
use serde_json::Value;
use sqlx::{FromRow, PgPool};

/// How long a channel is leased, as a PostgreSQL interval: longer than a batch of deliveries takes.
const LEASE: &str = "2 minutes";

/// A channel that this worker delivers to.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct LeasedChannel {
    pub id: ChannelId,
    pub channel_type: ChannelType,
    #[sqlx(json)]
    pub config: Value,
    pub secrets_sealed: Option<Vec<u8>>,
    pub failures: i32,
    /// Identifies the lease.
    pub lease_until: DateTime<Utc>,
}

/// Leases channels with messages that are due, without waiting for other workers.
pub(crate) async fn lease(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<LeasedChannel>> {
    sqlx::query_as(
        "with due as (
             select id from notification_channels c
             where is_active and (lease_until is null or lease_until <= now())
               and (paused_until is null or paused_until <= now())
               and exists (select from notification_deliveries d
                           where d.channel_id = c.id and d.next_attempt_at <= now())
             limit $1 for update skip locked)
         update notification_channels c set lease_until = now() + $2::interval
         from due where c.id = due.id
         returning c.id, c.channel_type, c.config, c.secrets_sealed, c.failures, c.lease_until",
    )
    .bind(limit)
    .bind(LEASE)
    .fetch_all(pool)
    .await
}

/// Ends the lease of a channel, unless it is another worker's by now. Nothing is sent before the pause ends.
pub(crate) async fn release(
    pool: &PgPool,
    channel: &LeasedChannel,
    failures: i32,
    pause: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "update notification_channels set lease_until = null, failures = $3,
             paused_until = case when $4 > 0 then now() + make_interval(secs => $4) end
         where id = $1 and lease_until = $2",
    )
    .bind(channel.id)
    .bind(channel.lease_until)
    .bind(failures)
    .bind(pause.as_secs_f64())
    .execute(pool)
    .await
    .map(drop)
}

/// Switches a channel off and cancels what is pending.
pub(crate) async fn disable(pool: &PgPool, channel: ChannelId, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "with channel as (
             update notification_channels set is_active = false, disabled_reason = $2, lease_until = null
             where id = $1 returning id)
         update notification_deliveries d set status = 'cancelled', next_attempt_at = null, ended_at = now()
         from channel where d.channel_id = channel.id and d.status = 'pending'",
    )
    .bind(channel)
    .bind(reason)
    .execute(pool)
    .await
    .map(drop)
}
