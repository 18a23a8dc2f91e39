//! Connectors: their settings, their sealed credentials and their state.

mod change;
mod quotas;

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::secrets::{Keyring, SecretError};
use platform::stored_connector::{StoredConnectorError, open_stored_connector};
use platform::sync_queue::enqueue_sync_events;
use provider::connector::{ConnectorConfig, ConnectorType, Secrets, credentials_aad};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::change::{ConfigChange, ConnectorChange, update};
pub use self::quotas::ConnectorQuotas;
use super::page::{self, KeyKind, ListOrder, Paging, Rows};
use super::syncs::{self, SyncView};

/// The maximum number of extra headers in a connector's credentials.
pub const MAX_EXTRA_HEADERS: usize = 20;

/// Why a connector could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum SaveConnectorError {
    #[error("the space has a connector of this name")]
    NameTaken,
    #[error("the stored credentials would be sent to another origin, or to one that is not verified")]
    CredentialsRequired,
    #[error("the space has as many connectors as it may")]
    TooMany,
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Seal(#[from] SecretError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<sqlx::Error> for SaveConnectorError {
    fn from(error: sqlx::Error) -> Self {
        let is_name_taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        if is_name_taken { Self::NameTaken } else { Self::Database(error) }
    }
}

/// A connector, its secrets aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connector {
    #[serde(flatten)]
    pub row: ConnectorRow,
    /// The sync that began last; it may run still.
    pub latest_sync: Option<SyncView>,
    /// The sync that waits to begin; the one that was requested last if there are several.
    pub queued_sync: Option<SyncView>,
}

/// A connector without its syncs.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct ConnectorRow {
    #[schema(value_type = Uuid)]
    pub id: ConnectorId,
    pub name: String,
    pub connector_type: String,
    pub is_active: bool,
    #[sqlx(json)]
    #[schema(value_type = Object)]
    pub config: Value,
    /// What of them may be read back.
    #[sqlx(json)]
    #[schema(value_type = Object)]
    pub credentials: Value,
    /// When a sync last ended, whether it succeeded or not.
    pub last_sync: Option<DateTime<Utc>>,
    pub last_success_at: Option<DateTime<Utc>>,
    #[doc = "When the last good poll began: what is shown of this connector was true then, or later. The \
             time since is its"]
    #[doc = "lag."]
    pub last_synced_at: Option<DateTime<Utc>>,
    /// Why the newest sync that ended has failed; null when it succeeded.
    pub last_error: Option<String>,
    /// How many syncs in a row have failed. After some, schedules rest until `retry_at`.
    pub failures: i64,
    pub retry_at: Option<DateTime<Utc>>,
    #[doc = "Since when the provider refuses the credentials: schedules try them again at `retry_at`, ever \
             later. Null again"]
    #[doc = "after a sync that succeeds, or with new credentials."]
    pub credentials_refused_at: Option<DateTime<Utc>>,
    /// When the schedule asks for a sync next.
    pub next_due_at: Option<DateTime<Utc>>,
    #[doc = "How many times the schedule asked while a sync was under way or nobody could take it."]
    pub missed_ticks: i64,
    /// The active ones.
    pub pipeline_count: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A connector to insert.
#[derive(Debug)]
pub struct NewConnector {
    pub name: String,
    pub connector_type: ConnectorType,
    pub is_active: bool,
    pub config: ConfigChange,
    pub credentials: Secrets,
}

/// A connector's settings and sealed credentials, from which its provider is opened.
#[derive(Debug, FromRow)]
pub struct StoredConnectorRow {
    #[sqlx(try_from = "String")]
    pub connector_type: ConnectorType,
    #[sqlx(json)]
    pub config: Value,
    pub credentials_sealed: Option<Vec<u8>>,
}

impl StoredConnectorRow {
    /// Returns the configuration and the opened credentials of an airflow connector.
    ///
    /// # Errors
    /// When the configuration cannot be parsed, or none of the sealing keys opens the credentials.
    pub fn open(
        self,
        connector: ConnectorId,
        keyring: &Keyring,
    ) -> Result<(ConnectorConfig, Secrets), StoredConnectorError> {
        open_stored_connector(connector, self.config, self.credentials_sealed.as_deref(), keyring)
    }
}

const COLUMNS: &str = "select c.id, c.name, c.connector_type, c.is_active, c.config,
    jsonb_build_object('headers', '[]'::jsonb) || c.credentials_public as credentials, s.last_success_at,
    (select max(finished_at) from syncs where syncs.connector_id = c.id) as last_sync,
    s.confirmed_at as last_synced_at, coalesce(s.failures, 0)::bigint as failures,
    (select error from syncs where syncs.connector_id = c.id and status = 'failed' and s.failures > 0
     order by requested_at desc, id desc limit 1) as last_error,
    case when s.failures > 0 then s.retry_at end as retry_at, s.credentials_refused_at, s.next_due_at,
    coalesce(s.missed_ticks, 0) as missed_ticks,
    (select count(*) from pipelines p where p.connector_id = c.id and p.is_active) as pipeline_count,
    c.created_at, c.updated_at";

const FROM: &str = " from connectors c left join connector_state s on s.connector_id = c.id
    where c.deleted_at is null and c.space_id = ";

/// The order of connectors: by name.
pub const ORDER: ListOrder = ListOrder::by("c.name", KeyKind::Text, "c.id");

/// Lists a page of the connectors of a space, by name.
pub async fn list(db: &PgPool, space: SpaceId, paging: &Paging) -> sqlx::Result<Rows<Connector>> {
    let page: Rows<ConnectorRow> = page::read(db, paging, COLUMNS, |sql| {
        sql.push(FROM).push_bind(space);
    })
    .await?;
    let ids: Vec<ConnectorId> = page.rows.iter().map(|row| row.id).collect();
    let (mut begun, mut queued) = (syncs::list_begun(db, &ids).await?, syncs::list_queued(db, &ids).await?);
    let rows = page.rows.into_iter().map(|row| Connector {
        latest_sync: take_of(&mut begun, row.id),
        queued_sync: take_of(&mut queued, row.id),
        row,
    });
    Ok(Rows { rows: rows.collect(), total: page.total, next: page.next })
}

/// Finds one connector of a space.
pub async fn find(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<Option<Connector>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(FROM).push_bind(space).push(" and c.id = ").push_bind(connector);
    let Some(row) = sql.build_query_as::<ConnectorRow>().fetch_optional(db).await? else {
        return Ok(None);
    };
    let latest_sync = syncs::list_begun(db, &[connector]).await?.pop();
    let queued_sync = syncs::list_queued(db, &[connector]).await?.pop();
    Ok(Some(Connector { row, latest_sync, queued_sync }))
}

/// Takes the sync of a connector out of a list.
fn take_of(syncs: &mut Vec<SyncView>, connector: ConnectorId) -> Option<SyncView> {
    let index = syncs.iter().position(|sync| sync.connector_id == connector)?;
    Some(syncs.swap_remove(index))
}

/// Returns whether the space has this connector.
pub async fn exists(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from connectors where id = $1 and space_id = $2 and deleted_at is null)",
    )
    .bind(connector)
    .bind(space)
    .fetch_one(db)
    .await
}

/// Finds the settings and sealed credentials of a connector of the space.
pub async fn find_stored(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
) -> sqlx::Result<Option<StoredConnectorRow>> {
    sqlx::query_as(
        "select connector_type, config, credentials_sealed from connectors
         where id = $1 and space_id = $2 and deleted_at is null",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(db)
    .await
}

/// Inserts a connector. The first poll of an active one with a schedule is due at once.
pub async fn insert(
    db: &PgPool,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    new: &NewConnector,
    quotas: ConnectorQuotas,
) -> Result<ConnectorId, SaveConnectorError> {
    let id = ConnectorId(Uuid::now_v7());
    let sealed = seal(keyring, id, &new.credentials)?;
    let config = new.config.apply(&Value::Null);
    let mut tx = db.begin().await?;
    if quotas.max_connectors > 0 && count_locked(&mut tx, space).await? >= quotas.max_connectors.into() {
        return Err(SaveConnectorError::TooMany);
    }
    sqlx::query(
        "insert into connectors (id, space_id, name, connector_type, is_active, config, credentials_public,
             credentials_sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(space)
    .bind(&new.name)
    .bind(new.connector_type.as_str())
    .bind(new.is_active)
    .bind(&config)
    .bind(new.credentials.public())
    .bind(sealed)
    .execute(&mut *tx)
    .await?;
    if new.connector_type == ConnectorType::Airflow {
        insert_state(&mut tx, id, new.is_active && !config["schedule"].is_null()).await?;
    }
    let details = json!({ "name": new.name, "connector_type": new.connector_type.as_str() });
    let event = AuditEvent::new(Actor::User(user), Action::ConnectorCreated, id, details);
    audit::insert(&mut tx, space, &event).await?;
    tx.commit().await?;
    Ok(id)
}

/// Counts the connectors of a space. Until the transaction ends, no other one counts them.
async fn count_locked(db: &mut PgConnection, space: SpaceId) -> sqlx::Result<i64> {
    let lock = "select pg_advisory_xact_lock(hashtextextended('connectors of ' || $1::text, 0))";
    sqlx::query(lock).bind(space).execute(&mut *db).await?;
    let count = "select count(*) from connectors where space_id = $1 and deleted_at is null";
    sqlx::query_scalar(count).bind(space).fetch_one(db).await
}

async fn insert_state(db: &mut PgConnection, connector: ConnectorId, is_due: bool) -> sqlx::Result<()> {
    let query = sqlx::query(
        "insert into connector_state (connector_id, next_due_at) values ($1, case when $2 then now() end)",
    );
    query.bind(connector).bind(is_due).execute(db).await.map(drop)
}

/// Deletes a connector and its credentials; false when the space has no connector with this id. Its pipelines
/// and their history stay readable, no longer active.
pub async fn delete(db: &PgPool, space: SpaceId, user: UserId, connector: ConnectorId) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let deleted: Option<String> = sqlx::query_scalar(
        "update connectors set deleted_at = now(), updated_at = now(), credentials_sealed = null
         where id = $1 and space_id = $2 and deleted_at is null returning name",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(name) = deleted else {
        return Ok(false);
    };
    let event =
        AuditEvent::new(Actor::User(user), Action::ConnectorDeleted, connector, json!({ "name": name }));
    audit::insert(&mut tx, space, &event).await?;
    stop_syncing(&mut tx, connector).await?;
    tx.commit().await?;
    Ok(true)
}

/// Takes a deleted connector off the schedule, ends its lease, and fails its queued and running syncs.
async fn stop_syncing(db: &mut PgConnection, connector: ConnectorId) -> sqlx::Result<()> {
    sqlx::query(
        "update connector_state set next_due_at = null, lease_epoch = lease_epoch + 1, lease_until = null
         where connector_id = $1",
    )
    .bind(connector)
    .execute(&mut *db)
    .await?;
    let failed: Vec<SyncId> = sqlx::query_scalar(
        "update syncs set status = 'failed', finished_at = now(), version = nextval('observation_version'),
             error = 'The connector was deleted; nothing is synced from it any more.'
         where id in (select sync_id from sync_queue where connector_id = $1)
             and status in ('queued', 'running') returning id",
    )
    .bind(connector)
    .fetch_all(&mut *db)
    .await?;
    enqueue_sync_events(db, &failed).await
}

fn seal(
    keyring: &Keyring,
    connector: ConnectorId,
    credentials: &Secrets,
) -> Result<Vec<u8>, SaveConnectorError> {
    Ok(keyring.seal(&credentials_aad(connector), &serde_json::to_vec(credentials)?)?)
}
