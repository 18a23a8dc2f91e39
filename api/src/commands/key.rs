//! `key`: creates, lists and revokes API keys.

use anyhow::bail;
use clap::Subcommand;
use contract::ids::KeyId;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{find_user, to_json};
use crate::auth::keys::{GeneratedKey, digest};
use crate::store::keys;

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Create a key for a user, and show it once
    Create {
        email: String,
        /// Purpose of the key
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List a user's keys
    List { email: String },
    /// Revoke a key immediately
    Revoke { key_id: KeyId },
}

pub(super) async fn run(db: &PgPool, command: KeyCommand) -> anyhow::Result<Value> {
    match command {
        KeyCommand::Create { email, label } => create(db, &email, &label).await,
        KeyCommand::List { email } => to_json(keys::list(db, find_user(db, &email).await?.id).await?),
        KeyCommand::Revoke { key_id } => revoke(db, key_id).await,
    }
}

async fn create(db: &PgPool, email: &str, label: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let user = find_user(&mut *tx, email).await?;
    let GeneratedKey { prefix, key } = GeneratedKey::random();
    let id = keys::insert(&mut tx, user.id, label, &prefix, digest(&key)).await?;
    let details = json!({"user_id": user.id, "label": label});
    let event = AuditEvent::new(Actor::CommandLine, Action::KeyCreated, id, details);
    audit::insert_for_user(&mut tx, user.id, &event).await?;
    tx.commit().await?;
    Ok(json!({"id": id, "key": key, "label": label}))
}

async fn revoke(db: &PgPool, id: KeyId) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let Some(key) = keys::find_locked(&mut tx, id).await? else {
        bail!("There is no key {id}; `key list EMAIL` shows a person's keys.");
    };
    if key.revoked_at.is_some() {
        return to_json(key);
    }
    let revoked = keys::revoke(&mut tx, id).await?;
    let details = json!({"user_id": revoked.user_id, "label": revoked.label});
    let event = AuditEvent::new(Actor::CommandLine, Action::KeyRevoked, id, details);
    audit::insert_for_user(&mut tx, revoked.user_id, &event).await?;
    tx.commit().await?;
    to_json(revoked)
}
