//! Changing a connector, and the effects of a change on its syncs.

use std::collections::BTreeSet;

use contract::ids::{ConnectorId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::secrets::Keyring;
use provider::connector::{ConnectorConfigPatch, SecretKeys, Secrets};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};
use url::Url;

use super::{SaveConnectorError, seal};

/// The configuration in a request.
#[derive(Debug)]
pub enum ConfigChange {
    /// The fields of an Airflow connector to set.
    Airflow(ConnectorConfigPatch),
    /// The whole configuration of another type.
    Other(Value),
}

impl ConfigChange {
    /// Returns the configuration to store in place of `before`.
    pub(super) fn apply(&self, before: &Value) -> Value {
        match self {
            Self::Airflow(patch) => patch.apply(before),
            Self::Other(config) => config.clone(),
        }
    }
}

/// The fields of a connector to change.
#[derive(Debug, Default)]
pub struct ConnectorChange {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    pub config: Option<ConfigChange>,
    pub credentials: Option<Secrets>,
}

/// The fields of a connector before a change.
#[derive(FromRow)]
struct ConnectorBefore {
    name: String,
    is_active: bool,
    #[sqlx(json)]
    config: Value,
    #[sqlx(json)]
    credentials_public: Value,
}

impl ConnectorBefore {
    /// Returns whether the change would send the stored credentials to another origin, or to one whose
    /// certificate is no longer verified. The request must then contain them, because an editor who does not
    /// know them could otherwise read them on a server of their own.
    fn exposes_credentials(&self, change: &ConnectorChange, config: &Value) -> bool {
        if change.credentials.is_some() || !matches!(change.config, Some(ConfigChange::Airflow(_))) {
            return false;
        }
        let origin = |config: &Value| {
            config["base_url"].as_str().and_then(|url| Url::parse(url).ok()).map(|url| url.origin())
        };
        let is_unverified = |config: &Value| config["verify_tls"] == false;
        self.has_credentials()
            && (origin(config) != origin(&self.config)
                || (is_unverified(config) && !is_unverified(&self.config)))
    }

    fn has_credentials(&self) -> bool {
        let public = &self.credentials_public;
        public["auth_type"].as_str().is_some_and(|name| name != "none")
            || public["headers"].as_array().is_some_and(|headers| !headers.is_empty())
            || public["client_certificate"].is_string()
    }

    /// Returns the names of the changed fields, for the audit log. Their values may be secret and are left
    /// out.
    fn changed_fields(&self, change: &ConnectorChange, config: Option<&Value>) -> Vec<String> {
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

fn secret_keys(config: &Value) -> SecretKeys {
    SecretKeys::deserialize(&config["redact_conf"]).unwrap_or_default()
}

/// The effects of a change on the schedule, the lease and the cursor of a connector.
struct ChangeEffect {
    is_scheduled: bool,
    /// The next poll is due at once.
    is_due: bool,
    /// The address, the credentials or the way to connect changed.
    reconnects: bool,
    /// The address changed, so that the provider may be another one.
    is_moved: bool,
    /// The run histories must be read again: longer ones, of another provider, or with other values replaced.
    restarts_history: bool,
}

impl ChangeEffect {
    fn of(change: &ConnectorChange, before: &ConnectorBefore, config: &Value) -> Self {
        let differs = |field: &str| config[field] != before.config[field];
        let is_moved = differs("base_url");
        let reconnects = is_moved
            || change.credentials.is_some()
            || ["verify_tls", "ca_certificate", "api_version"].into_iter().any(differs);
        let is_scheduled = change.is_active.unwrap_or(before.is_active) && !config["schedule"].is_null();
        let history_days = |config: &Value| config["history_days"].as_i64();
        Self {
            is_scheduled,
            is_due: is_scheduled && (reconnects || differs("schedule") || !before.is_active),
            reconnects,
            is_moved,
            restarts_history: is_moved
                || history_days(config) > history_days(&before.config)
                || secret_keys(config) != secret_keys(&before.config),
        }
    }

    /// Applies the effects. A new lease epoch ends a sync that still runs with the old settings: it can
    /// neither move the cursor nor report the new credentials as refused. After a move the lease is freed at
    /// once.
    async fn apply(&self, db: &mut PgConnection, connector: ConnectorId) -> sqlx::Result<()> {
        sqlx::query(
            "update connector_state set
                 next_due_at = case when $2 then now() when $3 then next_due_at end,
                 credentials_refused_at = case when $4 then null else credentials_refused_at end,
                 retry_at = case when $4 then null else retry_at end,
                 cursor_at = case when $5 then null else cursor_at end,
                 lease_epoch = case when $4 then lease_epoch + 1 else lease_epoch end,
                 lease_until = case when $5 then null else lease_until end
             where connector_id = $1",
        )
        .bind(connector)
        .bind(self.is_due)
        .bind(self.is_scheduled)
        .bind(self.reconnects)
        .bind(self.is_moved)
        .execute(&mut *db)
        .await?;
        if self.restarts_history {
            sqlx::query("delete from pipeline_crawls where connector_id = $1")
                .bind(connector)
                .execute(db)
                .await?;
        }
        Ok(())
    }
}

/// Changes a connector; false when the space has no connector with this id.
pub async fn update(
    db: &PgPool,
    keyring: &Keyring,
    space: SpaceId,
    user: UserId,
    connector: ConnectorId,
    change: &ConnectorChange,
) -> Result<bool, SaveConnectorError> {
    let sealed =
        change.credentials.as_ref().map(|credentials| seal(keyring, connector, credentials)).transpose()?;
    let mut tx = db.begin().await?;
    let Some(before) = find_before(&mut tx, space, connector).await? else {
        return Ok(false);
    };
    // The row is locked, so that the fields of a concurrent change are kept.
    let config = change.config.as_ref().map(|given| given.apply(&before.config));
    if config.as_ref().is_some_and(|config| before.exposes_credentials(change, config)) {
        return Err(SaveConnectorError::CredentialsRequired);
    }
    store_change(&mut tx, connector, change, config.as_ref(), sealed).await?;
    let effect = ChangeEffect::of(change, &before, config.as_ref().unwrap_or(&before.config));
    effect.apply(&mut tx, connector).await?;
    let changed = before.changed_fields(change, config.as_ref());
    if !changed.is_empty() {
        let details = json!({"name": change.name.as_ref().unwrap_or(&before.name), "changed": changed});
        let event = AuditEvent::new(Actor::User(user), Action::ConnectorChanged, connector, details);
        audit::insert(&mut tx, space, &event).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn find_before(
    db: &mut PgConnection,
    space: SpaceId,
    connector: ConnectorId,
) -> sqlx::Result<Option<ConnectorBefore>> {
    sqlx::query_as(
        "select name, is_active, config, credentials_public from connectors
         where id = $1 and space_id = $2 and deleted_at is null for update",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(db)
    .await
}

async fn store_change(
    db: &mut PgConnection,
    connector: ConnectorId,
    change: &ConnectorChange,
    config: Option<&Value>,
    sealed: Option<Vec<u8>>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update connectors set name = coalesce($2, name), is_active = coalesce($3, is_active),
             config = coalesce($4, config), credentials_public = coalesce($5, credentials_public),
             credentials_sealed = coalesce($6, credentials_sealed), updated_at = now()
         where id = $1",
    )
    .bind(connector)
    .bind(&change.name)
    .bind(change.is_active)
    .bind(config)
    .bind(change.credentials.as_ref().map(Secrets::public))
    .bind(sealed)
    .execute(db)
    .await
    .map(drop)
}
