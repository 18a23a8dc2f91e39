//! `team`: creates, renames, removes and lists the teams of a space, and their members.

use anyhow::{anyhow, bail};
use clap::{Subcommand, ValueEnum};
use contract::state::TeamRole;
use platform::audit::Actor;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{arguments, find_space, find_user, to_json};
use crate::store::spaces::Space;
use crate::store::teams::{self, TeamEntry, TeamOutcome, TeamUpdate};

#[derive(Subcommand, Debug)]
pub enum TeamCommand {
    /// Create a team in a space
    Create {
        slug: String,
        #[arg(value_parser = arguments::name)]
        name: String,
    },
    /// Rename a team
    Rename {
        slug: String,
        name: String,
        #[arg(value_parser = arguments::name)]
        new_name: String,
    },
    /// Remove a team: its pipelines are owned by no team afterwards
    Remove { slug: String, name: String },
    /// List the members of a team
    Members { slug: String, name: String },
    /// Add a member of the space to a team, or change a role; a second manager replaces the first
    SetMember { slug: String, name: String, email: String, role: TeamRoleName },
    /// Remove a member of a team
    RemoveMember { slug: String, name: String, email: String },
    /// List a space's teams
    List { slug: String },
}

/// A role in a team on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TeamRoleName {
    Member,
    Manager,
}

impl From<TeamRoleName> for TeamRole {
    fn from(name: TeamRoleName) -> Self {
        match name {
            TeamRoleName::Member => Self::Member,
            TeamRoleName::Manager => Self::Manager,
        }
    }
}

pub(super) async fn run(db: &PgPool, command: TeamCommand) -> anyhow::Result<Value> {
    match command {
        TeamCommand::Create { slug, name } => create(db, &slug, &name).await,
        TeamCommand::Rename { slug, name, new_name } => rename(db, &slug, &name, new_name).await,
        TeamCommand::Remove { slug, name } => remove(db, &slug, &name).await,
        TeamCommand::Members { slug, name } => {
            let (space, team) = find(&mut *db.acquire().await?, &slug, &name).await?;
            to_json(teams::list_all_members(db, space.id, team.id).await?)
        }
        TeamCommand::SetMember { slug, name, email, role } => {
            set_member(db, (&slug, &name), &email, Some(role.into())).await
        }
        TeamCommand::RemoveMember { slug, name, email } => set_member(db, (&slug, &name), &email, None).await,
        TeamCommand::List { slug } => to_json(teams::list_all(db, find_space(db, &slug).await?.id).await?),
    }
}

async fn find(db: &mut PgConnection, slug: &str, name: &str) -> anyhow::Result<(Space, TeamEntry)> {
    let space = find_space(&mut *db, slug).await?;
    let team = teams::find_named(db, space.id, name).await?;
    let team = team.ok_or_else(|| anyhow!("There is no team {name:?}; `team list {slug}` shows them."))?;
    Ok((space, team))
}

async fn create(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?;
    teams::insert(&mut tx, Actor::CommandLine, space.id, name, None).await?;
    let team = teams::find_named(&mut tx, space.id, name).await?;
    tx.commit().await?;
    to_json(team)
}

async fn rename(db: &PgPool, slug: &str, name: &str, new_name: String) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let (space, team) = find(&mut tx, slug, name).await?;
    let change = TeamUpdate { name: Some(new_name), description: None };
    match teams::update(&mut tx, Actor::CommandLine, space.id, team.id, &change).await? {
        TeamOutcome::Done => {}
        TeamOutcome::NameTaken => bail!("The space has another team of this name."),
        TeamOutcome::NotFound => bail!("The team was removed meanwhile."),
    }
    let team = teams::find(&mut *tx, space.id, team.id).await?;
    tx.commit().await?;
    to_json(team)
}

async fn remove(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let (space, team) = find(&mut tx, slug, name).await?;
    teams::delete(&mut tx, Actor::CommandLine, space.id, team.id).await?;
    tx.commit().await?;
    to_json(team)
}

async fn set_member(
    db: &PgPool,
    (slug, name): (&str, &str),
    email: &str,
    role: Option<TeamRole>,
) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let (space, team) = find(&mut tx, slug, name).await?;
    let user = find_user(&mut *tx, email).await?;
    let actor = Actor::CommandLine;
    let is_found = match role {
        Some(role) => teams::set_member(&mut tx, actor, space.id, team.id, user.id, role).await?,
        None => teams::remove_member(&mut tx, actor, space.id, team.id, user.id).await?,
    };
    if !is_found {
        bail!("{email:?} is no member of the space or the team; `member list {slug}` shows the members.");
    }
    tx.commit().await?;
    Ok(json!({"id": user.id, "email": user.email, "name": user.name, "role": role}))
}
