//! `team`: creates and lists the teams of a space.

use clap::Subcommand;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{arguments, find_space, to_json};
use crate::store::teams;

#[derive(Subcommand, Debug)]
pub enum TeamCommand {
    /// Create a team in a space
    Create {
        slug: String,
        #[arg(value_parser = arguments::name)]
        name: String,
    },
    /// List a space's teams
    List { slug: String },
}

pub(super) async fn run(db: &PgPool, command: TeamCommand) -> anyhow::Result<Value> {
    match command {
        TeamCommand::Create { slug, name } => create(db, &slug, &name).await,
        TeamCommand::List { slug } => to_json(teams::list_all(db, find_space(db, &slug).await?.id).await?),
    }
}

async fn create(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?;
    let is_new = teams::find(&mut tx, space.id, name).await?.is_none();
    let team = teams::upsert(&mut tx, space.id, name).await?;
    if is_new {
        let details = json!({ "name": name });
        let event = AuditEvent::new(Actor::CommandLine, Action::TeamCreated, team.id, details);
        audit::insert(&mut tx, space.id, &event).await?;
    }
    tx.commit().await?;
    to_json(team)
}
