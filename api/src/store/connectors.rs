//! Connectors: what they are, who may be asked with which credentials, and what a change of them means to the worker.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use shared::audit::{self, Act, Action, Actor};
use shared::connector::{AIRFLOW, ConnectorConfig, Secrets, credentials_place};
use shared::ids::{ConnectorId, SpaceId, SyncId, UserId};
use shared::secrets::Keyring;
use shared::syncs::announce;
use sqlx::{FromRow, PgConnection, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::syncs::{self, Sync};
use crate::error::{ApiError, ApiResult};
use crate::page::{Paging, Rows};

/// A connector, its secrets aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connector {
    #[serde(flatten)]
    pub row: ConnectorRow,
    /// The newest.
    pub last_sync: Option<Sync>,
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
    pub last_success_at: Option<DateTime<Utc>>,
    /// When the last good poll began: what is shown of this connector was true then, or later. The time since is its
    /// lag.
    pub last_synced_at: Option<DateTime<Utc>>,
    /// Why the newest sync that ended has failed; null when it succeeded.
    pub last_error: Option<String>,
    /// How many syncs in a row have failed. After some, schedules rest until `retry_at`.
    pub failures: i64,
    pub retry_at: Option<DateTime<Utc>>,
    /// Since when the provider refuses the credentials: schedules pass over the connector until they change.
    pub credentials_refused_at: Option<DateTime<Utc>>,
    /// When the schedule asks for a sync next.
    pub next_due_at: Option<DateTime<Utc>>,
    /// How many times the schedule asked while a sync was under way or nobody could take it.
    pub missed_ticks: i64,
    /// The active ones.
    pub pipeline_count: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a connector is made of.
#[derive(Debug)]
pub struct NewConnector {
    pub name: String,
    /// `airflow`, or another that is only stored.
    pub connector_type: String,
    pub is_active: bool,
    pub config: Value,
    pub credentials: Secrets,
}

/// What of a connector is to become different.
#[derive(Debug, Default)]
pub struct ConnectorChange {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    /// Of an airflow connector, what of it; of another, all of it.
    pub config: Option<Value>,
    pub credentials: Option<Secrets>,
}

/// What is needed to speak to a connector's provider.
#[derive(Debug, FromRow)]
pub struct Opening {
    pub connector_type: String,
    #[sqlx(json)]
    pub config: Value,
    pub credentials_sealed: Option<Vec<u8>>,
}

const COLUMNS: &str = "select c.id, c.name, c.connector_type, c.is_active, c.config,
    jsonb_build_object('headers', '[]'::jsonb) || c.credentials_public as credentials, s.last_success_at,
    s.confirmed_at as last_synced_at, coalesce(s.failures, 0)::bigint as failures,
    (select error from syncs where syncs.connector_id = c.id and status = 'failed' and s.failures > 0
     order by requested_at desc, id desc limit 1) as last_error,
    case when s.failures > 0 then s.retry_at end as retry_at, s.credentials_refused_at, s.next_due_at,
    coalesce(s.missed_ticks, 0) as missed_ticks,
    (select count(*) from pipelines p where p.connector_id = c.id and p.is_active) as pipeline_count,
    c.created_at, c.updated_at
    from connectors c left join connector_state s on s.connector_id = c.id where c.deleted_at is null and ";

/// Some of the connectors of a space, by name.
///
/// # Errors
/// When the database is away.
pub async fn list(db: &PgPool, space: SpaceId, paging: Paging) -> sqlx::Result<Rows<Connector>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("c.space_id = ").push_bind(space);
    sql.push(" order by c.name, c.id limit ")
        .push_bind(paging.limit())
        .push(" offset ")
        .push_bind(paging.offset());
    let rows: Vec<ConnectorRow> = sql.build_query_as().fetch_all(db).await?;
    let ids: Vec<ConnectorId> = rows.iter().map(|row| row.id).collect();
    let mut syncs = syncs::newest(db, &ids).await?;
    let rows = rows.into_iter().map(|row| {
        let last = syncs.iter().position(|sync| sync.connector_id == row.id);
        Connector { last_sync: last.map(|place| syncs.swap_remove(place)), row }
    });
    let rows = rows.collect();
    let total =
        sqlx::query_scalar("select count(*) from connectors where space_id = $1 and deleted_at is null")
            .bind(space)
            .fetch_one(db)
            .await?;
    Ok(Rows { rows, total })
}

/// One connector of a space.
///
/// # Errors
/// When the database is away.
pub async fn get(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<Option<Connector>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("c.space_id = ").push_bind(space).push(" and c.id = ").push_bind(connector);
    let Some(row) = sql.build_query_as::<ConnectorRow>().fetch_optional(db).await? else {
        return Ok(None);
    };
    let last_sync = syncs::newest(db, &[connector]).await?.pop();
    Ok(Some(Connector { row, last_sync }))
}

/// Whether the space has this connector.
///
/// # Errors
/// When the database is away.
pub async fn exists(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from connectors where id = $1 and space_id = $2 and deleted_at is null)",
    )
    .bind(connector)
    .bind(space)
    .fetch_one(db)
    .await
}

/// What is needed to speak to the provider of a connector of the space.
///
/// # Errors
/// When the database is away.
pub async fn opening(db: &PgPool, space: SpaceId, connector: ConnectorId) -> sqlx::Result<Option<Opening>> {
    sqlx::query_as(
        "select connector_type, config, credentials_sealed from connectors
         where id = $1 and space_id = $2 and deleted_at is null",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(db)
    .await
}

/// Makes a connector, its first poll due at once.
///
/// # Errors
/// When the space has one of this name, or the database is away.
pub async fn create(
    db: &PgPool,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    new: &NewConnector,
) -> ApiResult<ConnectorId> {
    let id = ConnectorId(Uuid::now_v7());
    let sealed = seal(keyring, id, &new.credentials)?;
    let mut tx = db.begin().await?;
    sqlx::query(
        "insert into connectors (id, space_id, name, connector_type, is_active, config, credentials_public,
             credentials_sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(space)
    .bind(&new.name)
    .bind(&new.connector_type)
    .bind(new.is_active)
    .bind(&new.config)
    .bind(new.credentials.public())
    .bind(sealed)
    .execute(&mut *tx)
    .await
    .map_err(name_taken)?;
    if new.connector_type == AIRFLOW {
        let due = new.is_active && !new.config["schedule"].is_null();
        sqlx::query("insert into connector_state (connector_id, next_due_at) values ($1, case when $2 then now() end)")
            .bind(id)
            .bind(due)
            .execute(&mut *tx)
            .await?;
    }
    let details = json!({ "name": new.name, "connector_type": new.connector_type });
    let act = Act::new(Actor::User(user), Action::ConnectorCreated, id, details);
    audit::record(&mut tx, space, &act).await?;
    tx.commit().await?;
    Ok(id)
}

/// A connector before a change, as far as the change asks.
#[derive(FromRow)]
struct Before {
    name: String,
    connector_type: String,
    is_active: bool,
    #[sqlx(json)]
    config: Value,
}

impl Before {
    /// The configuration with what is given in its place.
    fn with(&self, given: &Value) -> Value {
        if self.connector_type != AIRFLOW {
            return given.clone();
        }
        let mut config = complete_config(&self.config);
        for (name, value) in given.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        config
    }
}

/// Changes a connector; false when the space has none of this id.
///
/// # Errors
/// When the space has another one of this name, or the database is away.
pub async fn update(
    db: &PgPool,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    connector: ConnectorId,
    change: &ConnectorChange,
) -> ApiResult<bool> {
    let sealed =
        change.credentials.as_ref().map(|credentials| seal(keyring, connector, credentials)).transpose()?;
    let mut tx = db.begin().await?;
    let before: Option<Before> = sqlx::query_as(
        "select name, connector_type, is_active, config from connectors
         where id = $1 and space_id = $2 and deleted_at is null for update",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = before else {
        return Ok(false);
    };
    // Only now, so that two changes at once both come to hold.
    let config = change.config.as_ref().map(|given| before.with(given));
    sqlx::query(
        "update connectors set name = coalesce($2, name), is_active = coalesce($3, is_active),
             config = coalesce($4, config), credentials_public = coalesce($5, credentials_public),
             credentials_sealed = coalesce($6, credentials_sealed), updated_at = now()
         where id = $1",
    )
    .bind(connector)
    .bind(&change.name)
    .bind(change.is_active)
    .bind(&config)
    .bind(change.credentials.as_ref().map(Secrets::public))
    .bind(sealed)
    .execute(&mut *tx)
    .await
    .map_err(name_taken)?;
    tell_worker(&mut tx, connector, &before, change, config.as_ref()).await?;
    let changed = before.fields_changed_by(change, config.as_ref());
    if !changed.is_empty() {
        let details = json!({"name": change.name.as_ref().unwrap_or(&before.name), "changed": changed});
        let act = Act::new(Actor::User(user), Action::ConnectorChanged, connector, details);
        audit::record(&mut tx, space, &act).await?;
    }
    tx.commit().await?;
    Ok(true)
}

impl Before {
    /// By their names alone: what a configuration holds may be anything.
    fn fields_changed_by(&self, change: &ConnectorChange, config: Option<&Value>) -> Vec<String> {
        let mut changed = Vec::new();
        if change.name.as_ref().is_some_and(|name| *name != self.name) {
            changed.push("name".to_owned());
        }
        if change.is_active.is_some_and(|is_active| is_active != self.is_active) {
            changed.push("is_active".to_owned());
        }
        if let Some(config) = config {
            let fields: BTreeSet<&String> = [config, &self.config]
                .into_iter()
                .filter_map(|config| config.as_object())
                .flat_map(|map| map.keys())
                .collect();
            let differing = fields.into_iter().filter(|field| config.get(field) != self.config.get(field));
            changed.extend(differing.map(|field| format!("config.{field}")));
        }
        if change.credentials.is_some() {
            changed.push("credentials".to_owned());
        }
        changed
    }
}

/// Makes the worker see a change: when it polls next, and what it must read again.
async fn tell_worker(
    db: &mut PgConnection,
    connector: ConnectorId,
    before: &Before,
    change: &ConnectorChange,
    config: Option<&Value>,
) -> sqlx::Result<()> {
    let config = config.unwrap_or(&before.config);
    let differs = |field: &str| config[field] != before.config[field];
    let (moved, active) = (differs("base_url"), change.is_active.unwrap_or(before.is_active));
    let reached_anew =
        moved || change.credentials.is_some() || differs("verify_tls") || differs("api_version");
    let scheduled = active && !config["schedule"].is_null();
    let due_now = scheduled && (reached_anew || differs("schedule") || !before.is_active);
    let history = |config: &Value| config["history_days"].as_i64();
    // A new epoch ends the sync that still runs with the old settings: it can move no cursor any more, nor tell of
    // credentials that are not these. At a new address nobody need wait for it.
    sqlx::query(
        "update connector_state set
             next_due_at = case when $2 then now() when $3 then next_due_at end,
             credentials_refused_at = case when $4 then null else credentials_refused_at end,
             cursor_at = case when $5 then null else cursor_at end,
             lease_epoch = case when $4 then lease_epoch + 1 else lease_epoch end,
             lease_until = case when $5 then null else lease_until end
         where connector_id = $1",
    )
    .bind(connector)
    .bind(due_now)
    .bind(scheduled)
    .bind(reached_anew)
    .bind(moved)
    .execute(&mut *db)
    .await?;
    if moved || history(config) > history(&before.config) {
        sqlx::query("delete from pipeline_crawls where connector_id = $1")
            .bind(connector)
            .execute(db)
            .await?;
    }
    Ok(())
}

/// Deletes a connector and what it knew to log in with; false when the space has none of this id. Its pipelines and
/// their history stay, no longer active.
///
/// # Errors
/// When the database is away.
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
    let act = Act::new(Actor::User(user), Action::ConnectorDeleted, connector, json!({ "name": name }));
    audit::record(&mut tx, space, &act).await?;
    sqlx::query(
        "update connector_state set next_due_at = null, lease_epoch = lease_epoch + 1, lease_until = null
         where connector_id = $1",
    )
    .bind(connector)
    .execute(&mut *tx)
    .await?;
    let ended: Vec<SyncId> = sqlx::query_scalar(
        "update syncs set status = 'failed', finished_at = now(), version = nextval('observation_version'),
             error = 'The connector was deleted; nothing is synced from it any more.'
         where connector_id = $1 and status in ('queued', 'running') returning id",
    )
    .bind(connector)
    .fetch_all(&mut *tx)
    .await?;
    announce(&mut tx, &ended).await?;
    tx.commit().await?;
    Ok(true)
}

/// Reads credentials back, to speak to the provider with them.
///
/// # Errors
/// When they open with none of the keys.
pub fn unseal(keyring: &Keyring, connector: ConnectorId, sealed: Option<&[u8]>) -> ApiResult<Secrets> {
    match sealed {
        None => Ok(Secrets::default()),
        Some(sealed) => Ok(serde_json::from_slice(&keyring.open(&credentials_place(connector), sealed)?)?),
    }
}

fn seal(keyring: &Keyring, connector: ConnectorId, credentials: &Secrets) -> ApiResult<Vec<u8>> {
    Ok(keyring.seal(&credentials_place(connector), &serde_json::to_vec(credentials)?)?)
}

fn name_taken(error: sqlx::Error) -> ApiError {
    match error.as_database_error() {
        Some(fault) if fault.is_unique_violation() => {
            ApiError::Conflict("The space has a connector of this name already; choose another")
        }
        _ => error.into(),
    }
}

/// An airflow connector's configuration with every field in it.
pub fn complete_config(given: &Value) -> Value {
    let field = |name: &str, default: Value| given.get(name).cloned().unwrap_or(default);
    json!({
        "base_url": field("base_url", Value::Null),
        "api_version": field("api_version", json!("auto")),
        "schedule": field("schedule", Value::Null),
        "history_days": field("history_days", json!(30)),
        "verify_tls": field("verify_tls", json!(true)),
        "max_requests_in_flight":
            field("max_requests_in_flight", json!(ConnectorConfig::default_max_requests_in_flight())),
        "max_requests_per_second":
            field("max_requests_per_second", json!(ConnectorConfig::default_max_requests_per_second())),
    })
}
