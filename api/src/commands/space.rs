//! `space`: creates, renames and lists spaces.

use clap::Subcommand;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{arguments, naming_action, to_json};
use crate::store::spaces;

#[derive(Subcommand, Debug)]
pub enum SpaceCommand {
    /// Create a space, or rename it
    Create {
        /// Lower-case letters, digits and hyphens, at most 63
        #[arg(value_parser = arguments::slug)]
        slug: String,
        #[arg(long, value_parser = arguments::name)]
        name: String,
    },
    /// List all spaces
    List,
}

pub(super) async fn run(db: &PgPool, command: SpaceCommand) -> anyhow::Result<Value> {
    match command {
        SpaceCommand::Create { slug, name } => create(db, &slug, &name).await,
        SpaceCommand::List => to_json(spaces::list(db).await?),
    }
}

async fn create(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let before = spaces::find(&mut *tx, slug).await?.map(|space| space.name);
    let space = spaces::upsert(&mut tx, slug, name).await?;
    if let Some(action) = naming_action(before, name, Action::SpaceCreated, Action::SpaceRenamed) {
        let details = json!({"slug": slug, "name": name});
        let event = AuditEvent::new(Actor::CommandLine, action, space.id, details);
        audit::insert(&mut tx, space.id, &event).await?;
    }
    tx.commit().await?;
    to_json(space)
}
