//! `connectors`: what the worker reads of them. Only the API changes them.

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, SpaceId, SyncId};
use platform::offsets::Offsets;
use provider::connector::ConnectorType;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};

use super::change_cursors::ChangeCursors;
use super::connector_state::is_behind;

/// Returns which of these connectors exist, deleted ones included.
pub(crate) async fn find_existing(
    db: &mut PgConnection,
    ids: &[ConnectorId],
) -> sqlx::Result<Vec<ConnectorId>> {
    sqlx::query_scalar("select id from connectors where id = any($1)").bind(ids).fetch_all(db).await
}

/// What a sync needs of its connector.
#[derive(sqlx::FromRow)]
pub(crate) struct SyncSettings {
    /// The slug of the connector's space.
    pub space: String,
    #[sqlx(try_from = "String")]
    pub connector_type: ConnectorType,
    pub config: Json<serde_json::Value>,
    pub credentials_sealed: Option<Vec<u8>>,
    cursor_at: Option<DateTime<Utc>>,
    runs_cursor_at: Option<DateTime<Utc>>,
    task_runs_cursor_at: Option<DateTime<Utc>>,
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The offsets after the last published records, unless these are too old to count.
    pub published: Option<Json<Vec<PublishedOffset>>>,
}

/// The offset after the last published record of a partition.
#[derive(Deserialize)]
pub(crate) struct PublishedOffset {
    topic: String,
    partition: i32,
    next_offset: i64,
}

impl SyncSettings {
    /// The cursors; none before the first sync.
    pub(crate) fn cursors(&self) -> Option<ChangeCursors> {
        let of_stored = |at| ChangeCursors::of_stored(at, self.runs_cursor_at, self.task_runs_cursor_at);
        self.cursor_at.map(of_stored)
    }

    /// Takes the published offsets.
    pub(crate) fn take_published(&mut self) -> Offsets {
        let published = self.published.take().map_or_else(Vec::new, |published| published.0);
        published.into_iter().map(|of| ((of.topic, of.partition), of.next_offset)).collect()
    }
}

/// Finds the settings for a sync; none when the connector is deleted.
pub(crate) async fn find_sync_settings(
    db: &mut PgConnection,
    connector: ConnectorId,
) -> sqlx::Result<Option<SyncSettings>> {
    sqlx::query_as(
        "select spaces.slug as space, c.connector_type, c.config, c.credentials_sealed, state.cursor_at,
             state.runs_cursor_at, state.task_runs_cursor_at, state.confirmed_at,
             case when state.published_at > now() - interval '1 hour' then state.published_offsets end
                 as published
         from connectors c join spaces on spaces.id = c.space_id
         join connector_state state on state.connector_id = c.id
         where c.id = $1 and c.deleted_at is null",
    )
    .bind(connector)
    .fetch_optional(db)
    .await
}

/// The connector of a sync request.
#[derive(sqlx::FromRow)]
pub(crate) struct RequestedConnector {
    pub space_id: SpaceId,
    #[sqlx(try_from = "String")]
    pub connector_type: ConnectorType,
    pub is_active: bool,
    /// Whether the requested sync has a row.
    pub is_stored: bool,
}

/// Finds the connector of a sync request; none when it is deleted.
pub(crate) async fn find_requested(
    db: &mut PgConnection,
    connector: ConnectorId,
    sync: SyncId,
) -> sqlx::Result<Option<RequestedConnector>> {
    sqlx::query_as(
        "select space_id, connector_type, is_active, exists (select from syncs where id = $2) as is_stored
         from connectors where id = $1 and deleted_at is null",
    )
    .bind(connector)
    .bind(sync)
    .fetch_optional(db)
    .await
}

/// The space of a connector, and whether the connector is switched on.
#[derive(sqlx::FromRow)]
pub(crate) struct ConnectorSpace {
    pub space_id: SpaceId,
    pub is_active: bool,
}

/// Finds the space of a connector; none when it is deleted.
pub(crate) async fn find_space(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
) -> sqlx::Result<Option<ConnectorSpace>> {
    sqlx::query_as("select space_id, is_active from connectors where id = $1 and deleted_at is null")
        .bind(connector)
        .fetch_optional(db)
        .await
}

/// Finds the idle connectors with an unfinished run that was triggered through the API, each with its space.
///
/// `max_age` of the trigger and `min_interval` since the last poll are PostgreSQL intervals. The interval
/// grows with the age of the trigger, which is divided by `age_divisor`.
pub(crate) async fn find_followed(
    db: impl PgExecutor<'_>,
    max_age: &str,
    min_interval: &str,
    age_divisor: f64,
) -> sqlx::Result<Vec<(SpaceId, ConnectorId)>> {
    sqlx::query_as(concat!(
        "select c.space_id, c.id
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null
           and (state.retry_at is null or state.retry_at <= now())
           and not ",
        is_behind!(),
        "
           and not exists (select from sync_queue q where q.connector_id = c.id)
           and exists (
               select from runs r join triggers t on t.run_id = r.id
               where r.connector_id = c.id and r.status in ('queued', 'running', 'unknown')
                 and r.deleted_at is null and r.triggered_by_id is not null
                 and t.created_at > now() - $1::interval
                 and coalesce(state.confirmed_at, '-infinity')
                     < now() - greatest($2::interval, (now() - greatest(t.created_at, t.sent_at)) / $3))"
    ))
    .bind(max_age)
    .bind(min_interval)
    .bind(age_divisor)
    .fetch_all(db)
    .await
}

/// The schedule of a connector and how its syncs went, for metrics.
#[derive(sqlx::FromRow)]
pub(crate) struct ConnectorHealth {
    pub id: String,
    pub last_success_at: DateTime<Utc>,
    /// The last success, or a later change of the connector: the next tick after it is when the connector is
    /// due.
    pub expected_from: DateTime<Utc>,
    pub schedule: Option<String>,
    pub failures: i32,
}

/// Finds the health of active connectors.
pub(crate) async fn find_health(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<ConnectorHealth>> {
    sqlx::query_as(
        "select c.id::text as id, coalesce(state.last_success_at, c.created_at) as last_success_at,
             greatest(state.last_success_at, c.created_at, c.updated_at) as expected_from,
             c.config->>'schedule' as schedule, state.failures
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null order by c.id limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}
