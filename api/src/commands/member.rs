//! `member`: sets the role of a user in a space, and lists members.

use clap::{Subcommand, ValueEnum};
use contract::state::Role;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{find_space, find_user, to_json};
use crate::store::members;

#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// Set the role of a user in a space
    Set { slug: String, email: String, role: RoleName },
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
        MemberCommand::List { slug } => to_json(members::list(db, find_space(db, &slug).await?.id).await?),
    }
}

async fn set(db: &PgPool, slug: &str, email: &str, role: RoleName) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = find_space(&mut *tx, slug).await?;
    let user = find_user(&mut *tx, email).await?;
    let before = members::find_role_locked(&mut tx, space.id, user.id).await?;
    let member = members::upsert(&mut tx, space.id, user.id, role.into()).await?;
    if before != Some(member.role) {
        let details = json!({"from": before, "to": member.role});
        let event = AuditEvent::new(Actor::CommandLine, Action::UserRoleChanged, user.id, details);
        audit::insert(&mut tx, space.id, &event).await?;
    }
    tx.commit().await?;
    to_json(member)
}
