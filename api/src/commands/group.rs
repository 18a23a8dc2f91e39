//! `group`: gives the groups of the OpenID Connect provider roles in spaces.

use anyhow::anyhow;
use clap::Subcommand;
use contract::state::Role;
use platform::audit::Actor;
use serde_json::Value;
use sqlx::PgPool;

use super::member::RoleName;
use super::{arguments, find_space, to_json};
use crate::store::group_mappings;

#[derive(Subcommand, Debug)]
pub enum GroupCommand {
    /// Give the members of a group a role in a space, or change it
    Set {
        slug: String,
        /// As the provider's groups claim holds it
        #[arg(value_parser = arguments::name)]
        group: String,
        role: RoleName,
    },
    /// Take a group's role in a space away
    Remove { slug: String, group: String },
    /// List the groups that have a role in a space
    List { slug: String },
}

pub(super) async fn run(db: &PgPool, command: GroupCommand) -> anyhow::Result<Value> {
    match command {
        GroupCommand::Set { slug, group, role } => set(db, &slug, &group, role.into()).await,
        GroupCommand::Remove { slug, group } => remove(db, &slug, &group).await,
        GroupCommand::List { slug } => {
            to_json(group_mappings::list_all(db, find_space(db, &slug).await?.id).await?)
        }
    }
}

async fn set(db: &PgPool, slug: &str, group: &str, role: Role) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?.id;
    match group_mappings::find_of_group(&mut *tx, space, group).await? {
        Some(before) => {
            group_mappings::update(&mut tx, Actor::CommandLine, space, &before, role).await?;
        }
        None => {
            group_mappings::insert(&mut tx, Actor::CommandLine, space, group, role).await?;
        }
    }
    let mapping = group_mappings::find_of_group(&mut *tx, space, group).await?;
    tx.commit().await?;
    to_json(mapping)
}

async fn remove(db: &PgPool, slug: &str, group: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?.id;
    let mapping = group_mappings::find_of_group(&mut *tx, space, group).await?.ok_or_else(|| {
        anyhow!("The group {group:?} has no role in {slug:?}; `group list {slug}` shows the groups.")
    })?;
    group_mappings::delete(&mut tx, Actor::CommandLine, space, &mapping).await?;
    tx.commit().await?;
    to_json(mapping)
}
