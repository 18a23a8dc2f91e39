//! The deliveries of a channel: read with their attempts, requested again, or requested as a test. The worker
//! sends them.

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, DeliveryId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::notifications::{DeliveryStatus, MessageChange, NotificationMessage};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The maximum number of tests of a channel that wait at a time.
const MAX_WAITING_TESTS: i64 = 5;

/// A message to a channel, with its latest attempts.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct NotificationDelivery {
    /// The `webhook-id` of all attempts.
    #[schema(value_type = Uuid)]
    pub id: DeliveryId,
    #[schema(value_type = Uuid)]
    pub channel_id: ChannelId,
    pub status: DeliveryStatus,
    /// The most urgent change that the message reports.
    #[sqlx(json)]
    pub change: MessageChange,
    /// The incidents that the message reports.
    pub incident_ids: Vec<Uuid>,
    /// The number of attempts.
    pub attempt_count: i32,
    /// The latest 20 attempts, the newest first.
    #[sqlx(json)]
    pub attempts: Vec<DeliveryAttempt>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// An attempt to send a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryAttempt {
    pub number: i32,
    pub at: DateTime<Utc>,
    /// The status of the response; null without one.
    pub code: Option<i32>,
    /// Why the attempt failed, or who did not get an e-mail; null when all got the message.
    pub error: Option<String>,
    pub duration_ms: i32,
}

/// Conditions on deliveries.
#[derive(Debug, Default, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// The state of the delivery; repeated, any of them
    #[param(required = false, inline)]
    pub status: Vec<DeliveryStatus>,
}

/// What became of a request to send again or to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    Enqueued(DeliveryId),
    NotFound,
    Inactive,
    TooManyTests,
}

// The changes of a message are stored per incident; the first in this list is the most urgent.
const COLUMNS: &str = "select d.id, d.channel_id, d.status, d.attempts as attempt_count, d.next_attempt_at,
    d.created_at, d.ended_at,
    array(select (i->>'id')::uuid from jsonb_array_elements(d.message->'incidents') i) as incident_ids,
    to_jsonb(coalesce((
        select i->>'change' from jsonb_array_elements(d.message->'incidents') i
        order by array_position(
            array['opened', 'reopened', 'updated', 'repeated', 'acknowledged', 'resolved'], i->>'change')
        limit 1), 'test')) as change,
    coalesce((
        select jsonb_agg(to_jsonb(a) - 'delivery_id') from (
            select * from delivery_attempts where delivery_id = d.id order by number desc limit 20) a
        ), '[]') as attempts";

/// The order of deliveries: newest first.
pub const ORDER: ListOrder = ListOrder::by("d.created_at", KeyKind::Time, "d.id").descending();

/// Lists a page of the deliveries of a channel, newest first.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    channel: ChannelId,
    filter: &DeliveryFilter,
    paging: &Paging,
) -> sqlx::Result<Rows<NotificationDelivery>> {
    let status: Vec<String> = filter.status.iter().map(ToString::to_string).collect();
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from notification_deliveries d where d.space_id = ").push_bind(space);
        sql.push(" and d.channel_id = ").push_bind(channel);
        if !status.is_empty() {
            sql.push(" and d.status = any(").push_bind(status.clone()).push(")");
        }
    })
    .await
}

/// Finds a delivery of a channel.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    channel: ChannelId,
    delivery: DeliveryId,
) -> sqlx::Result<Option<NotificationDelivery>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from notification_deliveries d where d.space_id = ").push_bind(space);
    sql.push(" and d.channel_id = ").push_bind(channel).push(" and d.id = ").push_bind(delivery);
    sql.build_query_as().fetch_optional(db).await
}

/// Makes a delivery due now, with the schedule of attempts from its beginning, for all recipients. The
/// channel's pause ends.
pub async fn redeliver(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    channel: ChannelId,
    delivery: DeliveryId,
) -> sqlx::Result<DeliveryOutcome> {
    match find_is_active(db, space, channel).await? {
        None => return Ok(DeliveryOutcome::NotFound),
        Some(false) => return Ok(DeliveryOutcome::Inactive),
        Some(true) => {}
    }
    let updated = sqlx::query(
        "update notification_deliveries set status = 'pending', retries = 0, next_attempt_at = now(),
             ended_at = null, reached = '{}'
         where id = $1 and channel_id = $2",
    )
    .bind(delivery)
    .bind(channel)
    .execute(&mut *db)
    .await?;
    if updated.rows_affected() == 0 {
        return Ok(DeliveryOutcome::NotFound);
    }
    end_pause(db, channel).await?;
    let details = json!({ "delivery_id": delivery });
    let event = AuditEvent::new(Actor::User(user), Action::ChannelRedelivered, channel, details);
    audit::insert(db, space, &event).await?;
    Ok(DeliveryOutcome::Enqueued(delivery))
}

/// Enqueues a message that reports no incident. The channel's pause ends.
pub async fn insert_test(
    db: &mut PgConnection,
    (space, slug): (SpaceId, &str),
    user: UserId,
    channel: ChannelId,
) -> sqlx::Result<DeliveryOutcome> {
    match find_is_active(db, space, channel).await? {
        None => return Ok(DeliveryOutcome::NotFound),
        Some(false) => return Ok(DeliveryOutcome::Inactive),
        Some(true) => {}
    }
    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from notification_deliveries
         where channel_id = $1 and status = 'pending' and message->'incidents' = '[]'",
    )
    .bind(channel)
    .fetch_one(&mut *db)
    .await?;
    if waiting >= MAX_WAITING_TESTS {
        return Ok(DeliveryOutcome::TooManyTests);
    }
    let id = DeliveryId(Uuid::now_v7());
    let message = NotificationMessage { space: slug.to_owned(), at: Utc::now(), incidents: Vec::new() };
    sqlx::query(
        "insert into notification_deliveries (id, space_id, channel_id, message) values ($1, $2, $3, $4)",
    )
    .bind(id)
    .bind(space)
    .bind(channel)
    .bind(Json(message))
    .execute(&mut *db)
    .await?;
    end_pause(db, channel).await?;
    let details = json!({ "delivery_id": id });
    let event = AuditEvent::new(Actor::User(user), Action::ChannelTested, channel, details);
    audit::insert(db, space, &event).await?;
    Ok(DeliveryOutcome::Enqueued(id))
}

/// Returns whether a channel of the space is active; none when there is no such channel. It is locked until
/// the transaction ends.
async fn find_is_active(
    db: &mut PgConnection,
    space: SpaceId,
    channel: ChannelId,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select is_active from notification_channels where id = $1 and space_id = $2 for update",
    )
    .bind(channel)
    .bind(space)
    .fetch_optional(db)
    .await
}

async fn end_pause(db: &mut PgConnection, channel: ChannelId) -> sqlx::Result<()> {
    let query = sqlx::query("update notification_channels set paused_until = null where id = $1");
    query.bind(channel).execute(db).await.map(drop)
}
