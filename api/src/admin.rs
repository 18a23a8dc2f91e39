//! The command line for spaces, people, teams and keys. Everything but a key can be created twice: the second time it
//! is found, and takes the new name.

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use shared::db::{self, DatabaseConfig};
use shared::ids::KeyId;
use shared::state::Role;
use sqlx::PgPool;

use crate::config::APPLICATION;
use crate::store::{keys, members, spaces, teams, users};

/// The things that are administered here, and how to reach the database that holds them.
#[derive(Subcommand, Debug)]
pub enum AdminCommand {
    /// Make and list spaces
    Space(On<SpaceCommand>),
    /// Make and list people
    User(On<UserCommand>),
    /// Say who belongs to a space, and as what
    Member(On<MemberCommand>),
    /// Make and list the teams of a space
    Team(On<TeamCommand>),
    /// Make, list and revoke API keys
    Key(On<KeyCommand>),
}

/// A command on the database.
#[derive(Args, Debug)]
pub struct On<C: Subcommand> {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(subcommand)]
    command: C,
}

#[derive(Subcommand, Debug)]
pub enum SpaceCommand {
    /// Make a space, or rename it
    Create {
        /// Lower-case letters, digits and hyphens, at most 63
        #[arg(value_parser = slug)]
        slug: String,
        #[arg(long, value_parser = name)]
        name: String,
    },
    /// List all spaces
    List,
}

#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Make a person, or rename one
    Create {
        #[arg(value_parser = email)]
        email: String,
        #[arg(long, value_parser = name)]
        name: String,
    },
    /// List all people
    List,
}

#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// Give a person a role in a space, instead of the one they had
    Set { slug: String, email: String, role: RoleName },
    /// List a space's members
    List { slug: String },
}

#[derive(Subcommand, Debug)]
pub enum TeamCommand {
    /// Make a team in a space
    Create {
        slug: String,
        #[arg(value_parser = name)]
        name: String,
    },
    /// List a space's teams
    List { slug: String },
}

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key for a person; it is shown this once
    Create {
        email: String,
        /// What the key is for
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List a person's keys
    List { email: String },
    /// Make a key worthless, at once
    Revoke { key_id: KeyId },
}

/// A role as typed.
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

/// Runs one command and prints what it made or found.
///
/// # Errors
/// When what it names does not exist, or the database is away.
pub async fn run(command: AdminCommand, json: bool) -> anyhow::Result<()> {
    let answer = match command {
        AdminCommand::Space(on) => space(&open(&on.database)?, on.command).await,
        AdminCommand::User(on) => user(&open(&on.database)?, on.command).await,
        AdminCommand::Member(on) => member(&open(&on.database)?, on.command).await,
        AdminCommand::Team(on) => team(&open(&on.database)?, on.command).await,
        AdminCommand::Key(on) => key(&open(&on.database)?, on.command).await,
    };
    print(&answer.map_err(explain)?, json)
}

/// Says what to do about a database that cannot be used as it is.
fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => {
            error.context("PostgreSQL does not answer; check DATABASE_URL and that it is up")
        }
        Some(sqlx::Error::Database(fault)) if fault.code().as_deref() == Some("42P01") => {
            error.context("The schema is missing; run `orchestration-api migrate` first")
        }
        _ => error,
    }
}

fn open(database: &DatabaseConfig) -> anyhow::Result<PgPool> {
    db::pool(database, APPLICATION).context("DATABASE_URL cannot be read")
}

async fn space(db: &PgPool, command: SpaceCommand) -> anyhow::Result<Value> {
    match command {
        SpaceCommand::Create { slug, name } => shown(spaces::create(db, &slug, &name).await?),
        SpaceCommand::List => shown(spaces::list(db).await?),
    }
}

async fn user(db: &PgPool, command: UserCommand) -> anyhow::Result<Value> {
    match command {
        UserCommand::Create { email, name } => shown(users::create(db, &email, &name).await?),
        UserCommand::List => shown(users::list(db).await?),
    }
}

async fn member(db: &PgPool, command: MemberCommand) -> anyhow::Result<Value> {
    match command {
        MemberCommand::Set { slug, email, role } => {
            let space = known_space(db, &slug).await?;
            let user = known_user(db, &email).await?;
            shown(members::set(db, space.id, user.id, role.into()).await?)
        }
        MemberCommand::List { slug } => shown(members::list(db, known_space(db, &slug).await?.id).await?),
    }
}

async fn team(db: &PgPool, command: TeamCommand) -> anyhow::Result<Value> {
    match command {
        TeamCommand::Create { slug, name } => {
            shown(teams::create(db, known_space(db, &slug).await?.id, &name).await?)
        }
        TeamCommand::List { slug } => shown(teams::list_all(db, known_space(db, &slug).await?.id).await?),
    }
}

async fn key(db: &PgPool, command: KeyCommand) -> anyhow::Result<Value> {
    match command {
        KeyCommand::Create { email, label } => {
            shown(keys::create(db, known_user(db, &email).await?.id, &label).await?)
        }
        KeyCommand::List { email } => shown(keys::list(db, known_user(db, &email).await?.id).await?),
        KeyCommand::Revoke { key_id } => match keys::revoke(db, key_id).await? {
            Some(key) => shown(key),
            None => bail!("There is no key {key_id}; `key list EMAIL` shows a person's keys."),
        },
    }
}

async fn known_space(db: &PgPool, slug: &str) -> anyhow::Result<spaces::Space> {
    let space = spaces::find(db, slug).await?;
    space.ok_or_else(|| anyhow!("There is no space {slug:?}; `space list` shows them."))
}

async fn known_user(db: &PgPool, email: &str) -> anyhow::Result<users::User> {
    let user = users::find(db, email).await?;
    user.ok_or_else(|| anyhow!("There is nobody with the address {email:?}; `user list` shows everybody."))
}

fn shown(thing: impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(thing)?)
}

fn print(answer: &Value, json: bool) -> anyhow::Result<()> {
    match answer {
        _ if json => println!("{}", serde_json::to_string(answer)?),
        Value::Array(rows) => rows.iter().for_each(|row| println!("{}", line(row))),
        one => println!("{}", line(one)),
    }
    Ok(())
}

/// A thing on one line, `field=value` each.
fn line(thing: &Value) -> String {
    let fields = thing.as_object().into_iter().flatten();
    let fields: Vec<_> = fields.map(|(field, value)| format!("{field}={value}")).collect();
    fields.join("  ")
}

fn slug(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let starts_plain = text.chars().next().is_some_and(plain);
    match starts_plain && text.len() <= 63 && text.chars().all(|c| plain(c) || c == '-') {
        true => Ok(text.to_owned()),
        false => Err("a slug is 1 to 63 lower-case letters, digits and hyphens, no hyphen first".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name cannot be empty".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
}

fn email(text: &str) -> Result<String, String> {
    match text.trim().split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Ok(text.trim().to_owned()),
        _ => Err("an address has a name, an @ and a domain".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_that_the_schema_takes() {
        assert!(slug("finance-2").is_ok());
        for bad in ["", "-a", "Finance", "a_b", "é", &"a".repeat(64)] {
            assert!(slug(bad).is_err(), "{bad:?}");
        }
    }
}
