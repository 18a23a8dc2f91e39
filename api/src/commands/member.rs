//! `member`: sets the role of a user in a space, removes and lists members.

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use contract::state::Role;
use platform::audit::Actor;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{find_space, find_user, to_json};
use crate::store::members::{self, MemberOutcome, MemberRow, RoleSource};

#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// Set the role of a user in a space
    Set { slug: String, email: String, role: RoleName },
    /// Remove a user from a space; open streams end within seconds
    Remove { slug: String, email: String },
    /// List a space's members
    List { slug: String },
}

/// A role on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    Viewer,
    Editor,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(db: &PgPool, command: MemberCommand) -> anyhow::Result<Value> {
    match command {
        MemberCommand::Set { slug, email, role } => set(db, &slug, &email, role).await,
        MemberCommand::Remove { slug, email } => remove(db, &slug, &email).await,
        MemberCommand::List { slug } => to_json(members::list(db, find_space(db, &slug).await?.id).await?),
    }
}

async fn set(db: &PgPool, slug: &str, email: &str, role: RoleName) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?;
    let user = find_user(&mut *tx, email).await?;
    let role = role.into();
    let (actor, source) = (Actor::CommandLine, RoleSource::Person);
    check(members::set_role(&mut tx, actor, space.id, user.id, role, source).await?, slug, email)?;
    tx.commit().await?;
    to_json(MemberRow { id: user.id, email: user.email, name: user.name, role })
}

async fn remove(db: &PgPool, slug: &str, email: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?;
    let user = find_user(&mut *tx, email).await?;
    check(members::remove(&mut tx, Actor::CommandLine, space.id, user.id).await?, slug, email)?;
    tx.commit().await?;
    Ok(json!({"id": user.id, "email": user.email, "name": user.name, "role": null}))
}

fn check(outcome: MemberOutcome, slug: &str, email: &str) -> anyhow::Result<()> {
    match outcome {
        MemberOutcome::Done => Ok(()),
        MemberOutcome::NotFound => {
            bail!("{email:?} is no member of {slug:?}; `member list {slug}` shows the members.")
        }
        MemberOutcome::LastAdmin => {
            bail!("{email:?} is the last admin of {slug:?}; make another user an admin first.")
        }
    }
}
