//! The channels that notifications of a space are sent to, with their sealed secrets. The worker sends.

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::notifications::{ChannelSecretError, ChannelSecrets, ChannelType};
use platform::secrets::Keyring;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The maximum number of channels of a space.
pub const MAX_CHANNELS: i64 = 1_000;

/// A channel, its secrets aside.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct NotificationChannel {
    #[schema(value_type = Uuid)]
    pub id: ChannelId,
    #[serde(rename = "type")]
    #[sqlx(rename = "channel_type")]
    pub kind: ChannelType,
    pub name: String,
    /// An inactive channel is sent nothing; what was pending is cancelled.
    pub is_active: bool,
    #[doc = "`url` of a webhook and of PagerDuty, `host` of a Slack or Teams address, `to` of e-mail; of a \
             webhook also"]
    #[doc = "`previous_secret_until`, the end of the previous signing secret."]
    #[sqlx(json)]
    #[schema(value_type = Object)]
    pub config: Value,
    /// Why the service has switched the channel off; null when it has not.
    pub disabled_reason: Option<String>,
    /// How many attempts in a row have failed.
    pub failures: i32,
    /// Until when nothing is sent, because the receiver asked for a pause or has failed.
    pub paused_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A channel to insert.
#[derive(Debug)]
pub struct NewChannel {
    pub channel_type: ChannelType,
    pub name: String,
    pub is_active: bool,
    pub config: Value,
    pub secrets: Option<ChannelSecrets>,
}

/// What is to change of a channel; what is none stays.
#[derive(Debug, Default)]
pub struct ChannelUpdate {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    pub config: Option<Value>,
    pub secrets: Option<ChannelSecrets>,
}

/// A channel before a change, locked until the transaction ends.
#[derive(Debug, FromRow)]
pub struct StoredChannel {
    pub id: ChannelId,
    pub channel_type: ChannelType,
    pub name: String,
    pub is_active: bool,
    #[sqlx(json)]
    pub config: Value,
    secrets_sealed: Option<Vec<u8>>,
}

impl StoredChannel {
    /// Opens the secrets; none for a channel without.
    ///
    /// # Errors
    /// When none of the sealing keys opens them.
    pub fn secrets(&self, keyring: &Keyring) -> Result<Option<ChannelSecrets>, ChannelSecretError> {
        let sealed = self.secrets_sealed.as_deref();
        sealed.map(|sealed| ChannelSecrets::open(keyring, self.id, sealed)).transpose()
    }

    /// Returns the names of the changed fields, for the audit log.
    fn changed_fields(&self, change: &ChannelUpdate) -> Vec<&'static str> {
        let changes = [
            ("name", change.name.as_ref().is_some_and(|name| *name != self.name)),
            ("is_active", change.is_active.is_some_and(|is_active| is_active != self.is_active)),
            ("config", change.config.as_ref().is_some_and(|config| *config != self.config)),
            ("secrets", change.secrets.is_some()),
        ];
        changes.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
    }
}

/// Why a channel could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum SaveChannelError {
    #[error("the space has a channel of this name")]
    NameTaken,
    #[error("the space has {MAX_CHANNELS} channels")]
    TooMany,
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Secrets(#[from] ChannelSecretError),
}

impl From<sqlx::Error> for SaveChannelError {
    fn from(error: sqlx::Error) -> Self {
        let is_name_taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        if is_name_taken { Self::NameTaken } else { Self::Database(error) }
    }
}

const COLUMNS: &str = "select c.id, c.channel_type, c.name, c.is_active, c.config, c.disabled_reason,
    c.failures, case when c.paused_until > now() then c.paused_until end as paused_until, c.created_at,
    c.updated_at";

/// The order of channels: by name.
pub const ORDER: ListOrder = ListOrder::by("c.name", KeyKind::Text, "c.id");

/// Lists a page of the channels of a space, by name.
pub async fn list(db: &PgPool, space: SpaceId, paging: &Paging) -> sqlx::Result<Rows<NotificationChannel>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from notification_channels c where c.space_id = ").push_bind(space);
    })
    .await
}

/// Finds a channel of a space.
pub async fn find(
    db: impl PgExecutor<'_>,
    space: SpaceId,
    channel: ChannelId,
) -> sqlx::Result<Option<NotificationChannel>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from notification_channels c where c.space_id = ").push_bind(space);
    sql.push(" and c.id = ").push_bind(channel);
    sql.build_query_as().fetch_optional(db).await
}

/// Finds a channel of a space, locked until the transaction ends.
pub async fn find_locked(
    db: &mut PgConnection,
    space: SpaceId,
    channel: ChannelId,
) -> sqlx::Result<Option<StoredChannel>> {
    sqlx::query_as(
        "select id, channel_type, name, is_active, config, secrets_sealed from notification_channels
         where id = $1 and space_id = $2 for update",
    )
    .bind(channel)
    .bind(space)
    .fetch_optional(db)
    .await
}

/// Inserts a channel.
pub async fn insert(
    db: &mut PgConnection,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    new: &NewChannel,
) -> Result<ChannelId, SaveChannelError> {
    let counted = sqlx::query_scalar("select count(*) from notification_channels where space_id = $1");
    let count: i64 = counted.bind(space).fetch_one(&mut *db).await?;
    if count >= MAX_CHANNELS {
        return Err(SaveChannelError::TooMany);
    }
    let id = ChannelId(Uuid::now_v7());
    let sealed = new.secrets.as_ref().map(|secrets| secrets.seal(keyring, id)).transpose()?;
    sqlx::query(
        "insert into notification_channels (id, space_id, channel_type, name, is_active, config,
             secrets_sealed)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(space)
    .bind(new.channel_type)
    .bind(&new.name)
    .bind(new.is_active)
    .bind(&new.config)
    .bind(sealed)
    .execute(&mut *db)
    .await?;
    let details = json!({"name": new.name, "type": new.channel_type});
    record(db, space, user, id, Action::ChannelCreated, details).await?;
    Ok(id)
}

/// Changes a channel that was locked. One that is switched on again begins without failures; of one that is
/// switched off, the pending deliveries are cancelled.
pub async fn update(
    db: &mut PgConnection,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    before: &StoredChannel,
    change: &ChannelUpdate,
) -> Result<(), SaveChannelError> {
    let changed = before.changed_fields(change);
    if changed.is_empty() {
        return Ok(());
    }
    let sealed = change.secrets.as_ref().map(|secrets| secrets.seal(keyring, before.id)).transpose()?;
    sqlx::query(
        "update notification_channels set name = coalesce($2, name), is_active = coalesce($3, is_active),
             config = coalesce($4, config), secrets_sealed = coalesce($5, secrets_sealed),
             disabled_reason = case when $3 then null else disabled_reason end, failures = 0,
             paused_until = null, updated_at = now()
         where id = $1",
    )
    .bind(before.id)
    .bind(&change.name)
    .bind(change.is_active)
    .bind(&change.config)
    .bind(sealed)
    .execute(&mut *db)
    .await?;
    if change.is_active == Some(false) {
        sqlx::query(
            "update notification_deliveries set status = 'cancelled', next_attempt_at = null, ended_at = now()
             where channel_id = $1 and status = 'pending'",
        )
        .bind(before.id)
        .execute(&mut *db)
        .await?;
    }
    let details = json!({"name": change.name.as_ref().unwrap_or(&before.name), "changed": changed});
    record(db, space, user, before.id, Action::ChannelChanged, details).await?;
    Ok(())
}

/// Deletes a channel with its rules and deliveries; false when the space has no channel with this id.
pub async fn delete(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    channel: ChannelId,
) -> sqlx::Result<bool> {
    let deleted: Option<String> = sqlx::query_scalar(
        "delete from notification_channels where id = $1 and space_id = $2 returning name",
    )
    .bind(channel)
    .bind(space)
    .fetch_optional(&mut *db)
    .await?;
    let Some(name) = deleted else { return Ok(false) };
    record(db, space, user, channel, Action::ChannelDeleted, json!({ "name": name })).await?;
    Ok(true)
}

async fn record(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    channel: ChannelId,
    action: Action,
    details: Value,
) -> sqlx::Result<()> {
    audit::insert(db, space, &AuditEvent::new(Actor::User(user), action, channel, details)).await
}
