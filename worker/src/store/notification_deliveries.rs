//! `notification_deliveries` and `delivery_attempts`: the outbox of channels, and the result of each attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, DeliveryId, SpaceId};
use platform::notifications::NotificationMessage;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

/// Inserts a message to a channel, due now. The same message is inserted once.
pub(crate) async fn insert(
    db: &mut PgConnection,
    id: DeliveryId,
    space: SpaceId,
    channel: ChannelId,
    message: &NotificationMessage,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into notification_deliveries (id, space_id, channel_id, message) values ($1, $2, $3, $4)
         on conflict (id) do nothing",
    )
    .bind(id)
    .bind(space)
    .bind(channel)
    .bind(Json(message))
    .execute(db)
    .await
    .map(drop)
}

/// A message that is due.
#[derive(Debug, FromRow)]
pub(crate) struct DueDelivery {
    pub id: DeliveryId,
    pub message: Json<NotificationMessage>,
    pub retries: i32,
    /// The recipients of an e-mail that have it already.
    pub reached: Vec<String>,
}

/// Finds the oldest message to a channel that is due.
pub(crate) async fn find_due(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
) -> sqlx::Result<Option<DueDelivery>> {
    sqlx::query_as(
        "select id, message, retries, reached from notification_deliveries
         where channel_id = $1 and next_attempt_at <= now() order by created_at, id limit 1",
    )
    .bind(channel)
    .fetch_optional(db)
    .await
}

/// What an attempt changes in its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEffect {
    Delivered,
    /// The next attempt is due after this.
    Retry(Duration),
    Failed,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct EndedAttempt {
    pub at: DateTime<Utc>,
    pub duration: Duration,
    pub code: Option<u16>,
    pub error: Option<String>,
    /// The recipients of an e-mail that have it since this attempt.
    pub reached: Vec<String>,
    pub effect: AttemptEffect,
}

/// Stores an attempt with its effect. A failed attempt leaves a delivery as it is that was cancelled
/// meanwhile.
pub(crate) async fn record(pool: &PgPool, delivery: DeliveryId, attempt: &EndedAttempt) -> sqlx::Result<()> {
    let (status, wait) = match attempt.effect {
        AttemptEffect::Delivered => ("delivered", None),
        AttemptEffect::Retry(wait) => ("pending", Some(wait.as_secs_f64())),
        AttemptEffect::Failed => ("failed", None),
    };
    sqlx::query(
        "with delivery as (
             update notification_deliveries set attempts = attempts + 1, retries = retries + 1,
                 reached = reached || $8,
                 status = case when status = 'pending' or $2 = 'delivered' then $2 else status end,
                 next_attempt_at = case when status = 'pending' then now() + make_interval(secs => $3) end,
                 ended_at = case when $3::float8 is null then now() else ended_at end
             where id = $1 returning id, attempts)
         insert into delivery_attempts (delivery_id, number, at, code, error, duration_ms)
         select id, attempts, $4, $5, $6, $7 from delivery",
    )
    .bind(delivery)
    .bind(status)
    .bind(wait)
    .bind(attempt.at)
    .bind(attempt.code.map(i32::from))
    .bind(&attempt.error)
    .bind(i32::try_from(attempt.duration.as_millis()).unwrap_or(i32::MAX))
    .bind(&attempt.reached)
    .execute(pool)
    .await
    .map(drop)
}
