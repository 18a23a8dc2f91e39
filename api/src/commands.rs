//! The administration commands, one file each. Creating something that exists finds it and applies the new
//! name; only keys are always new. Every change is audited. The commands need the owner of the schema: the
//! role of the service lacks the rights.

mod after_restore;
mod arguments;
mod credentials;
mod group;
mod key;
mod member;
mod migrate;
mod republish;
mod space;
mod team;
mod user;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use platform::audit::Action;
use platform::db::{self, DatabaseConfig};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgExecutor, PgPool};

pub(crate) use self::after_restore::after_restore;
pub(crate) use self::migrate::migrate;
pub(crate) use self::republish::republish;
use crate::APPLICATION_NAME;
use crate::store::{spaces, users};

/// The administration commands and the database they work on.
#[derive(Subcommand, Debug)]
pub enum AdminCommand {
    /// Create and list spaces
    Space(OnDatabase<space::SpaceCommand>),
    /// Create and list users
    User(OnDatabase<user::UserCommand>),
    /// Set and list the members of a space
    Member(OnDatabase<member::MemberCommand>),
    /// Give groups of the OpenID Connect provider roles in spaces
    Group(OnDatabase<group::GroupCommand>),
    /// Create and list the teams of a space
    Team(OnDatabase<team::TeamCommand>),
    /// Create, list and revoke API keys
    Key(OnDatabase<key::KeyCommand>),
    /// Manage the stored credentials of connectors
    Credentials(OnDatabase<credentials::CredentialsCommand>),
}

/// A command on the database.
#[derive(Args, Debug)]
pub struct OnDatabase<C: Subcommand> {
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(subcommand)]
    pub command: C,
}

/// Runs one command and prints its result.
///
/// # Errors
/// Also when something that the command names does not exist.
pub(crate) async fn run(command: AdminCommand, json: bool) -> anyhow::Result<()> {
    let result = match command {
        AdminCommand::Space(on) => space::run(&open(&on.database).await?, on.command).await,
        AdminCommand::User(on) => user::run(&open(&on.database).await?, on.command).await,
        AdminCommand::Member(on) => member::run(&open(&on.database).await?, on.command).await,
        AdminCommand::Group(on) => group::run(&open(&on.database).await?, on.command).await,
        AdminCommand::Team(on) => team::run(&open(&on.database).await?, on.command).await,
        AdminCommand::Key(on) => key::run(&open(&on.database).await?, on.command).await,
        AdminCommand::Credentials(on) => credentials::run(&open(&on.database).await?, on.command).await,
    };
    print(&result?, json)
}

async fn open(database: &DatabaseConfig) -> anyhow::Result<PgPool> {
    Ok(db::pool_of_command(database, APPLICATION_NAME).await?)
}

/// Returns the action to audit when something gets a name: created, renamed, or none when nothing changed.
fn naming_action(before: Option<String>, name: &str, created: Action, renamed: Action) -> Option<Action> {
    match before {
        None => Some(created),
        Some(before) if before != name => Some(renamed),
        Some(_) => None,
    }
}

async fn find_space(db: impl PgExecutor<'_>, slug: &str) -> anyhow::Result<spaces::Space> {
    let space = spaces::find(db, slug).await?;
    space.ok_or_else(|| anyhow!("There is no space {slug:?}; `space list` shows them."))
}

async fn find_user(db: impl PgExecutor<'_>, email: &str) -> anyhow::Result<users::User> {
    let user = users::find(db, email).await?;
    user.ok_or_else(|| anyhow!("There is nobody with the address {email:?}; `user list` shows everybody."))
}

fn to_json(result: impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(result)?)
}

fn print(result: &Value, json: bool) -> anyhow::Result<()> {
    match result {
        _ if json => println!("{}", serde_json::to_string(result)?),
        Value::Array(rows) => rows.iter().for_each(|row| println!("{}", line(row))),
        one => println!("{}", line(one)),
    }
    Ok(())
}

/// Returns an object on one line, as `field=value` pairs.
fn line(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let fields: Vec<_> = fields.map(|(field, value)| format!("{field}={value}")).collect();
    fields.join("  ")
}
