//! `user`: creates, renames, disables and lists users.

use clap::Subcommand;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{arguments, find_user, naming_action, to_json};
use crate::store::users;

#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Create a user, or rename one
    Create {
        #[arg(value_parser = arguments::email)]
        email: String,
        #[arg(long, value_parser = arguments::name)]
        name: String,
    },
    /// Disable a user: all keys and sessions become invalid
    Disable { email: String },
    /// Enable a disabled user
    Enable { email: String },
    /// List all users
    List,
}

pub(super) async fn run(db: &PgPool, command: UserCommand) -> anyhow::Result<Value> {
    match command {
        UserCommand::Create { email, name } => create(db, &email, &name).await,
        UserCommand::Disable { email } => set_disabled(db, &email, true).await,
        UserCommand::Enable { email } => set_disabled(db, &email, false).await,
        UserCommand::List => to_json(users::list(db).await?),
    }
}

async fn create(db: &PgPool, email: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let before = users::find(&mut *tx, email).await?.map(|user| user.name);
    let user = users::upsert(&mut tx, email, name).await?;
    if let Some(action) = naming_action(before, name, Action::UserCreated, Action::UserRenamed) {
        let details = json!({"email": email, "name": name});
        let event = AuditEvent::new(Actor::CommandLine, action, user.id, details);
        audit::insert_for_user(&mut tx, user.id, &event).await?;
    }
    tx.commit().await?;
    to_json(user)
}

async fn set_disabled(db: &PgPool, email: &str, is_disabled: bool) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let before = find_user(&mut *tx, email).await?;
    let user = users::set_disabled(&mut tx, before.id, is_disabled).await?;
    if before.disabled_at.is_some() != is_disabled {
        let action = if is_disabled { Action::UserDisabled } else { Action::UserEnabled };
        let event = AuditEvent::new(Actor::CommandLine, action, user.id, json!({ "email": user.email }));
        audit::insert_for_user(&mut tx, user.id, &event).await?;
    }
    tx.commit().await?;
    to_json(user)
}
