//! A change of a connector, and what it means to the worker.

use std::collections::BTreeSet;

use contract::ids::{ConnectorId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::secrets::Keyring;
use provider::connector::{AIRFLOW, Secrets};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{complete_config, name_taken, seal};
use crate::http::error::ApiResult;

/// What of a connector is to become different.
#[derive(Debug, Default)]
pub struct ConnectorChange {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    /// Of an airflow connector, what of it; of another, all of it.
    pub config: Option<Value>,
    pub credentials: Option<Secrets>,
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
        let act = AuditEvent::new(Actor::User(user), Action::ConnectorChanged, connector, details);
        audit::record(&mut tx, space, &act).await?;
    }
    tx.commit().await?;
    Ok(true)
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
