//! Syncs: what was asked for, and what became of it. Running them is the worker's.

use chrono::{DateTime, Utc};
use contract::events::{SyncReport, SyncRequested, UserRef};
use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};
use contract::state::SyncTrigger;
use platform::audit::{self, Actor, AuditEvent};
use platform::syncs::enqueue_sync_events;
use platform::{outbox, trace};
use provider::connector::AIRFLOW;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool, QueryBuilder, Row};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::pagination::{Paging, Rows};
use crate::openapi::{Person, Report, SyncStatusWord, SyncTriggerWord};

/// A sync of a connector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sync {
    #[schema(value_type = Uuid)]
    pub id: SyncId,
    #[schema(value_type = Uuid)]
    pub connector_id: ConnectorId,
    #[schema(value_type = SyncStatusWord)]
    pub status: String,
    #[schema(value_type = SyncTriggerWord)]
    pub trigger: String,
    /// Whether the whole history was to be read again.
    pub full: bool,
    #[schema(value_type = Option<Person>)]
    pub requested_by: Option<UserRef>,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// What an operator can do about it, in one sentence.
    pub error: Option<String>,
    #[schema(value_type = Report)]
    pub report: SyncReport,
}

impl FromRow<'_, PgRow> for Sync {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let requested_by = row.try_get::<Option<UserId>, _>("user_id")?;
        let name = row.try_get::<Option<String>, _>("user_name")?;
        Ok(Self {
            id: row.try_get("id")?,
            connector_id: row.try_get("connector_id")?,
            status: row.try_get("status")?,
            trigger: row.try_get("trigger")?,
            full: row.try_get("full")?,
            requested_by: requested_by.map(|id| UserRef { id, name: name.unwrap_or_default() }),
            requested_at: row.try_get("requested_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            error: row.try_get("error")?,
            report: row.try_get::<Json<_>, _>("report")?.0,
        })
    }
}

const COLUMNS: &str = r#"select s.id, s.connector_id, s.status, s.trigger, s."full", u.id as user_id,
    u.name as user_name, s.requested_at, s.started_at, s.finished_at, s.error, s.report "#;

/// Some of a connector's syncs, newest first.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
    paging: Paging,
) -> sqlx::Result<Rows<Sync>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("from syncs s left join users u on u.id = s.requested_by where s.connector_id = ")
        .push_bind(connector);
    sql.push(" and s.space_id = ").push_bind(space);
    sql.push(" order by s.requested_at desc, s.id desc limit ").push_bind(paging.limit());
    sql.push(" offset ").push_bind(paging.offset());
    let rows = sql.build_query_as().fetch_all(db).await?;
    let total = sqlx::query_scalar("select count(*) from syncs where connector_id = $1 and space_id = $2")
        .bind(connector)
        .bind(space)
        .fetch_one(db)
        .await?;
    Ok(Rows { rows, total })
}

/// One sync of a connector.
///
/// # Errors
/// When the database is away.
pub async fn get(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
    sync: SyncId,
) -> sqlx::Result<Option<Sync>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("from syncs s left join users u on u.id = s.requested_by where s.id = ").push_bind(sync);
    sql.push(" and s.connector_id = ").push_bind(connector).push(" and s.space_id = ").push_bind(space);
    sql.build_query_as().fetch_optional(db).await
}

/// The newest sync of each of these connectors that ever had one.
///
/// # Errors
/// When the database is away.
pub async fn newest(db: &PgPool, connectors: &[ConnectorId]) -> sqlx::Result<Vec<Sync>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("from unnest(").push_bind(connectors.to_vec()).push(
        ") as asked(connector_id) cross join lateral (
             select * from syncs where syncs.connector_id = asked.connector_id
             order by requested_at desc, id desc limit 1) s
         left join users u on u.id = s.requested_by",
    );
    sql.build_query_as().fetch_all(db).await
}

/// What is asked of a sync.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct Wish {
    #[schema(ignore)]
    pub trigger: SyncTrigger,
    /// Whether to read the whole history again
    #[schema(value_type = Option<bool>, default = false)]
    pub full: bool,
    /// Whether a full sync may deactivate more than a fifth of the pipelines at once
    #[schema(value_type = Option<bool>, default = false)]
    pub accept_mass_deletion: bool,
}

/// How a connector stands towards a sync.
#[derive(Debug, PartialEq, Eq)]
pub enum Syncable {
    Missing,
    OtherType,
    SwitchedOff,
    Yes,
}

/// Whether a connector of the space can be synced.
///
/// # Errors
/// When the database is away.
pub async fn syncable(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<Syncable> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "select connector_type, is_active from connectors
         where id = $1 and space_id = $2 and deleted_at is null",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(db)
    .await?;
    Ok(match found {
        None => Syncable::Missing,
        Some((kind, _)) if kind != AIRFLOW => Syncable::OtherType,
        Some((_, false)) => Syncable::SwitchedOff,
        Some((_, true)) => Syncable::Yes,
    })
}

/// Asks for a sync within the caller's transaction. One that waits already serves this wish too; its id is the answer.
///
/// # Errors
/// When the database is away.
pub async fn request(
    db: &mut PgConnection,
    space: (SpaceId, &str),
    connector: ConnectorId,
    user: UserId,
    wish: Wish,
) -> sqlx::Result<SyncId> {
    // The connector's row stands for its queue: two requests at once become one sync.
    sqlx::query(
        "insert into connector_state (connector_id) values ($1)
         on conflict (connector_id) do update set connector_id = excluded.connector_id",
    )
    .bind(connector)
    .execute(&mut *db)
    .await?;
    let waiting = join_waiting(db, connector, wish).await?;
    let id = waiting.unwrap_or_else(|| SyncId(Uuid::now_v7()));
    let act =
        AuditEvent::request_sync(Actor::User(user), connector, id, wish.full, wish.accept_mass_deletion);
    audit::record(db, space.0, &act).await?;
    if waiting.is_some() {
        return Ok(id);
    }
    let requested_at = sqlx::query_scalar(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_by, requested_at, traceparent)
           values ($1, $2, $3, 'queued', $4, $5, $6, $7, clock_timestamp(), $8) returning requested_at"#,
    )
    .bind(id)
    .bind(space.0)
    .bind(connector)
    .bind(wish.trigger.to_string())
    .bind(wish.full)
    .bind(wish.accept_mass_deletion)
    .bind(user)
    .bind(trace::current().map(|trace| trace.to_string()))
    .fetch_one(&mut *db)
    .await?;
    let event = SyncRequested {
        id,
        connector_id: connector,
        full: wish.full,
        accept_mass_deletion: wish.accept_mass_deletion,
        space: space.1.to_owned(),
        observed_at: requested_at,
    };
    outbox::enqueue(db, &event).await?;
    enqueue_sync_events(db, &[id]).await?;
    Ok(id)
}

/// The sync that someone asked for and that has not begun, made to do what this wish asks too.
async fn join_waiting(
    db: &mut PgConnection,
    connector: ConnectorId,
    wish: Wish,
) -> sqlx::Result<Option<SyncId>> {
    let waiting: Option<(SyncId, bool)> = sqlx::query_as(
        r#"select id, ("full" or not $2) and (accept_mass_deletion or not $3) from syncs
           where connector_id = $1 and status = 'queued' and trigger <> 'schedule'
           order by requested_at limit 1 for update"#,
    )
    .bind(connector)
    .bind(wish.full)
    .bind(wish.accept_mass_deletion)
    .fetch_optional(&mut *db)
    .await?;
    let Some((id, enough)) = waiting else {
        return Ok(None);
    };
    // What is read for it must have been read after this wish, too.
    sqlx::query(
        r#"update syncs set asked_at = clock_timestamp(), "full" = "full" or $2,
               accept_mass_deletion = accept_mass_deletion or $3,
               version = case when $4 then version else nextval('observation_version') end where id = $1"#,
    )
    .bind(id)
    .bind(wish.full)
    .bind(wish.accept_mass_deletion)
    .bind(enough)
    .execute(&mut *db)
    .await?;
    if !enough {
        enqueue_sync_events(db, &[id]).await?;
    }
    Ok(Some(id))
}
