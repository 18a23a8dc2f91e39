//! `key`: creates, lists and revokes API keys.

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use contract::ids::KeyId;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{arguments, find_user, to_json};
use crate::auth::keys::{GeneratedKey, digest};
use crate::store::keys::{self, NewKey};

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Create a key for a user, and show it once
    Create(KeyArguments),
    /// List a user's keys, or those of all users
    List {
        #[arg(required_unless_present = "all")]
        email: Option<String>,
        /// The keys of all users
        #[arg(long, conflicts_with = "email")]
        all: bool,
    },
    /// Revoke a key immediately
    Revoke { key_id: KeyId },
}

/// The key to create.
#[derive(Args, Debug)]
pub struct KeyArguments {
    email: String,
    /// Purpose of the key
    #[arg(long, default_value = "")]
    label: String,
    /// When the key becomes invalid: an RFC 3339 time, or a date, whose midnight in UTC counts
    #[arg(long, value_name = "TIME", value_parser = arguments::future)]
    expires: Option<DateTime<Utc>>,
    /// Create a key that may not write
    #[arg(long)]
    read_only: bool,
}

pub(super) async fn run(db: &PgPool, command: KeyCommand) -> anyhow::Result<Value> {
    match command {
        KeyCommand::Create(arguments) => create(db, &arguments).await,
        KeyCommand::List { email, .. } => {
            let user = match email {
                Some(email) => Some(find_user(db, &email).await?.id),
                None => None,
            };
            to_json(keys::list(db, user).await?)
        }
        KeyCommand::Revoke { key_id } => revoke(db, key_id).await,
    }
}

async fn create(db: &PgPool, arguments: &KeyArguments) -> anyhow::Result<Value> {
    let KeyArguments { email, label, expires, read_only } = arguments;
    let mut tx = db.begin().await?;
    let user = find_user(&mut *tx, email).await?.id;
    let GeneratedKey { prefix, key } = GeneratedKey::random();
    let new = NewKey {
        user,
        label,
        prefix: &prefix,
        sha256: digest(&key),
        read_only: *read_only,
        expires_at: *expires,
    };
    let id = keys::insert(&mut tx, &new).await?;
    let details = json!({"user_id": user, "label": label, "read_only": read_only, "expires_at": expires});
    let event = AuditEvent::new(Actor::CommandLine, Action::KeyCreated, id, details);
    audit::insert_for_user(&mut tx, user, &event).await?;
    tx.commit().await?;
    Ok(json!({"id": id, "key": key, "label": label}))
}

async fn revoke(db: &PgPool, id: KeyId) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let Some(mut key) = keys::find_locked(&mut tx, id).await? else {
        bail!("There is no key {id}; `key list --all` shows every key.");
    };
    if key.revoked_at.is_some() {
        return to_json(key);
    }
    key.revoked_at = Some(keys::revoke(&mut tx, id).await?);
    let details = json!({"user_id": key.user_id, "label": key.label});
    let event = AuditEvent::new(Actor::CommandLine, Action::KeyRevoked, id, details);
    audit::insert_for_user(&mut tx, key.user_id, &event).await?;
    tx.commit().await?;
    to_json(key)
}
