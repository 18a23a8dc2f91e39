//! `notification_deliveries` and `delivery_attempts`: the outbox of channels, and the result of each attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, DeliveryId, SpaceId};
use platform::notifications::{MessageChange, NotificationMessage};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool};

/// Inserts a message to a channel, due now. The same message is inserted once. It waits for older messages
/// about its incidents; those about an incident that it reports to be acknowledged or resolved are due now,
/// too, once more than their schedule says.
pub(crate) async fn insert(
    db: &mut PgConnection,
    id: DeliveryId,
    space: SpaceId,
    channel: ChannelId,
    message: &NotificationMessage,
) -> sqlx::Result<()> {
    let is_ending = |change| matches!(change, MessageChange::Acknowledged | MessageChange::Resolved);
    let ending = message.incidents.iter().filter(|incident| is_ending(incident.change));
    sqlx::query(
        "with inserted as (
             insert into notification_deliveries (id, space_id, channel_id, message) values ($1, $2, $3, $4)
             on conflict (id) do nothing returning channel_id)
         update notification_deliveries older set next_attempt_at = now(), retries = greatest(retries - 1, 0)
         from inserted
         where older.channel_id = inserted.channel_id and older.next_attempt_at > now()
             and jsonb_path_query_array(older.message, '$.incidents[*].id') ?| $5",
    )
    .bind(id)
    .bind(space)
    .bind(channel)
    .bind(Json(message))
    .bind(ending.map(|incident| incident.id.to_string()).collect::<Vec<_>>())
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
    /// When the last of the older messages about its incidents is tried again; none if none waits.
    waits_until: Option<DateTime<Utc>>,
}

/// Finds the oldest message to a channel that is due. Messages about an incident keep their order: where an
/// older one waits for its retry, a message is postponed until then.
pub(crate) async fn find_due(pool: &PgPool, channel: ChannelId) -> sqlx::Result<Option<DueDelivery>> {
    while let Some(delivery) = find_oldest_due(pool, channel).await? {
        let Some(until) = delivery.waits_until else { return Ok(Some(delivery)) };
        postpone(pool, delivery.id, until).await?;
    }
    Ok(None)
}

async fn find_oldest_due(pool: &PgPool, channel: ChannelId) -> sqlx::Result<Option<DueDelivery>> {
    sqlx::query_as(
        "select d.id, d.message, d.retries, d.reached, (
             select max(older.next_attempt_at) from notification_deliveries older
             where older.channel_id = d.channel_id and older.next_attempt_at > now()
                 and (older.created_at, older.id) < (d.created_at, d.id)
                 and jsonb_path_query_array(older.message, '$.incidents[*].id') ?| array(
                     select i->>'id' from jsonb_array_elements(d.message->'incidents') i)) as waits_until
         from notification_deliveries d
         where d.channel_id = $1 and d.next_attempt_at <= now() order by d.created_at, d.id limit 1",
    )
    .bind(channel)
    .fetch_optional(pool)
    .await
}

async fn postpone(pool: &PgPool, delivery: DeliveryId, until: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update notification_deliveries set next_attempt_at = $2 where id = $1 and status = 'pending'",
    )
    .bind(delivery)
    .bind(until)
    .execute(pool)
    .await
    .map(drop)
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
