//! The command line for spaces, people, teams, keys and credentials. Everything but a key can be created twice: the
//! second time it is found, and takes the new name. What is changed is written into the audit trail. It all takes the
//! owner of the schema: the role that serves may not do it.

mod arguments;
mod credentials;

use anyhow::{anyhow, bail};
use contract::ids::KeyId;
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::db::{self, DatabaseConfig};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{PgExecutor, PgPool};

pub use self::arguments::AdminCommand;
use self::arguments::{
    CredentialsCommand, KeyCommand, MemberCommand, RoleName, SpaceCommand, TeamCommand, UserCommand,
};
use crate::cli::APPLICATION;
use crate::store::{keys, members, spaces, teams, users};

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
        AdminCommand::Credentials(on) => credentials(&open(&on.database)?, on.command).await,
    };
    print(&answer?, json)
}

fn open(database: &DatabaseConfig) -> anyhow::Result<PgPool> {
    Ok(db::pool(database, APPLICATION)?)
}

async fn space(db: &PgPool, command: SpaceCommand) -> anyhow::Result<Value> {
    match command {
        SpaceCommand::Create { slug, name } => create_space(db, &slug, &name).await,
        SpaceCommand::List => shown(spaces::list(db).await?),
    }
}

async fn create_space(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let before = spaces::find(&mut *tx, slug).await?.map(|space| space.name);
    let made = spaces::create(&mut tx, slug, name).await?;
    if let Some(action) = named(before, name, Action::SpaceCreated, Action::SpaceRenamed) {
        let act = AuditEvent::new(Actor::CommandLine, action, made.id, json!({"slug": slug, "name": name}));
        audit::record(&mut tx, made.id, &act).await?;
    }
    tx.commit().await?;
    shown(made)
}

/// What it means to make a thing of this name where one stood before, or none.
fn named(before: Option<String>, name: &str, created: Action, renamed: Action) -> Option<Action> {
    match before {
        None => Some(created),
        Some(before) if before != name => Some(renamed),
        Some(_) => None,
    }
}

async fn user(db: &PgPool, command: UserCommand) -> anyhow::Result<Value> {
    match command {
        UserCommand::Create { email, name } => create_user(db, &email, &name).await,
        UserCommand::List => shown(users::list(db).await?),
    }
}

async fn create_user(db: &PgPool, email: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let before = users::find(&mut *tx, email).await?.map(|user| user.name);
    let made = users::create(&mut tx, email, name).await?;
    if let Some(action) = named(before, name, Action::UserCreated, Action::UserRenamed) {
        let act = AuditEvent::new(Actor::CommandLine, action, made.id, json!({"email": email, "name": name}));
        audit::record_for_user(&mut tx, made.id, &act).await?;
    }
    tx.commit().await?;
    shown(made)
}

async fn member(db: &PgPool, command: MemberCommand) -> anyhow::Result<Value> {
    match command {
        MemberCommand::Set { slug, email, role } => set_member(db, &slug, &email, role).await,
        MemberCommand::List { slug } => shown(members::list(db, known_space(db, &slug).await?.id).await?),
    }
}

async fn set_member(db: &PgPool, slug: &str, email: &str, role: RoleName) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = known_space(&mut *tx, slug).await?;
    let user = known_user(&mut *tx, email).await?;
    let before = members::role(&mut tx, space.id, user.id).await?;
    let set = members::set(&mut tx, space.id, user.id, role.into()).await?;
    if before != Some(set.role) {
        let details = json!({"from": before, "to": set.role});
        let act = AuditEvent::new(Actor::CommandLine, Action::UserRoleChanged, user.id, details);
        audit::record(&mut tx, space.id, &act).await?;
    }
    tx.commit().await?;
    shown(set)
}

async fn team(db: &PgPool, command: TeamCommand) -> anyhow::Result<Value> {
    match command {
        TeamCommand::Create { slug, name } => create_team(db, &slug, &name).await,
        TeamCommand::List { slug } => shown(teams::list_all(db, known_space(db, &slug).await?.id).await?),
    }
}

async fn create_team(db: &PgPool, slug: &str, name: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let space = known_space(&mut *tx, slug).await?;
    let is_new = teams::find(&mut tx, space.id, name).await?.is_none();
    let made = teams::create(&mut tx, space.id, name).await?;
    if is_new {
        let act = AuditEvent::new(Actor::CommandLine, Action::TeamCreated, made.id, json!({ "name": name }));
        audit::record(&mut tx, space.id, &act).await?;
    }
    tx.commit().await?;
    shown(made)
}

async fn key(db: &PgPool, command: KeyCommand) -> anyhow::Result<Value> {
    match command {
        KeyCommand::Create { email, label } => create_key(db, &email, &label).await,
        KeyCommand::List { email } => shown(keys::list(db, known_user(db, &email).await?.id).await?),
        KeyCommand::Revoke { key_id } => revoke_key(db, key_id).await,
    }
}

async fn create_key(db: &PgPool, email: &str, label: &str) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let user = known_user(&mut *tx, email).await?;
    let made = keys::create(&mut tx, user.id, label).await?;
    let details = json!({"user_id": user.id, "label": label});
    let act = AuditEvent::new(Actor::CommandLine, Action::KeyCreated, made.id, details);
    audit::record_for_user(&mut tx, user.id, &act).await?;
    tx.commit().await?;
    shown(made)
}

async fn revoke_key(db: &PgPool, key: KeyId) -> anyhow::Result<Value> {
    let mut tx = db.begin().await?;
    let Some(found) = keys::find(&mut tx, key).await? else {
        bail!("There is no key {key}; `key list EMAIL` shows a person's keys.");
    };
    if found.revoked_at.is_some() {
        return shown(found);
    }
    let revoked = keys::revoke(&mut tx, key).await?;
    let details = json!({"user_id": revoked.user_id, "label": revoked.label});
    let act = AuditEvent::new(Actor::CommandLine, Action::KeyRevoked, key, details);
    audit::record_for_user(&mut tx, revoked.user_id, &act).await?;
    tx.commit().await?;
    shown(revoked)
}

async fn credentials(db: &PgPool, command: CredentialsCommand) -> anyhow::Result<Value> {
    match command {
        CredentialsCommand::Reseal(sealing) => shown(credentials::reseal(db, &sealing).await?),
    }
}

async fn known_space(db: impl PgExecutor<'_>, slug: &str) -> anyhow::Result<spaces::Space> {
    let space = spaces::find(db, slug).await?;
    space.ok_or_else(|| anyhow!("There is no space {slug:?}; `space list` shows them."))
}

async fn known_user(db: impl PgExecutor<'_>, email: &str) -> anyhow::Result<users::User> {
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
