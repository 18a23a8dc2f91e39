//! Who a user is at an OpenID Connect provider. Users are inserted at their first sign-in there.

use contract::ids::UserId;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::users::{self, User};

/// A person as an OpenID Connect provider describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    /// The provider's id of the person.
    pub subject: String,
    pub name: String,
    pub email: String,
    /// Whether the provider vouches for the address, so that it may find an existing user.
    pub is_email_verified: bool,
    pub groups: Vec<String>,
}

/// What became of a sign-in.
#[derive(Debug)]
pub enum IdentityOutcome {
    Found(User),
    Disabled,
    /// Another user has the address, and the provider does not vouch for it.
    EmailTaken,
}

/// Finds the user of an identity, or inserts one, and stores the groups.
pub async fn sign_in(db: &mut PgConnection, identity: &Identity) -> sqlx::Result<IdentityOutcome> {
    // Two first sign-ins of one person at the same time must not insert two users.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))")
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .execute(&mut *db)
        .await?;
    let user = match find(db, identity).await? {
        Some(user) => user,
        None => match link(db, identity).await? {
            Some(user) => user,
            None => return Ok(IdentityOutcome::EmailTaken),
        },
    };
    if user.disabled_at.is_some() {
        return Ok(IdentityOutcome::Disabled);
    }
    sqlx::query("update user_identities set groups = $3 where issuer = $1 and subject = $2")
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .bind(&identity.groups)
        .execute(&mut *db)
        .await?;
    rename(db, user, &identity.name).await.map(IdentityOutcome::Found)
}

async fn find(db: &mut PgConnection, identity: &Identity) -> sqlx::Result<Option<User>> {
    sqlx::query_as(
        "select u.id, u.email, u.name, u.created_at, u.disabled_at
         from user_identities i join users u on u.id = i.user_id where i.issuer = $1 and i.subject = $2",
    )
    .bind(&identity.issuer)
    .bind(&identity.subject)
    .fetch_optional(db)
    .await
}

/// Links the identity to the user with its address, or to a new one; none when that address is another
/// person's.
async fn link(db: &mut PgConnection, identity: &Identity) -> sqlx::Result<Option<User>> {
    let user = match users::find(&mut *db, &identity.email).await? {
        Some(user) if identity.is_email_verified && !has_identity(db, user.id, &identity.issuer).await? => {
            Some(user)
        }
        Some(_) => None,
        None => insert(db, identity).await?,
    };
    if let Some(user) = &user {
        sqlx::query("insert into user_identities (issuer, subject, user_id) values ($1, $2, $3)")
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(user.id)
            .execute(db)
            .await?;
    }
    Ok(user)
}

async fn has_identity(db: &mut PgConnection, user: UserId, issuer: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from user_identities where user_id = $1 and issuer = $2)")
        .bind(user)
        .bind(issuer)
        .fetch_one(db)
        .await
}

/// Inserts a user; none when another user got the address at the same time.
async fn insert(db: &mut PgConnection, identity: &Identity) -> sqlx::Result<Option<User>> {
    let user: Option<User> = sqlx::query_as(
        "insert into users (id, email, name) values ($1, $2, $3) on conflict do nothing
         returning id, email, name, created_at, disabled_at",
    )
    .bind(Uuid::now_v7())
    .bind(&identity.email)
    .bind(&identity.name)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(user) = &user {
        let details = json!({"email": user.email, "name": user.name, "issuer": identity.issuer});
        let event = AuditEvent::new(Actor::User(user.id), Action::UserCreated, user.id, details);
        audit::insert_for_user(db, user.id, &event).await?;
    }
    Ok(user)
}

async fn rename(db: &mut PgConnection, user: User, name: &str) -> sqlx::Result<User> {
    if user.name == name {
        return Ok(user);
    }
    sqlx::query("update users set name = $2 where id = $1")
        .bind(user.id)
        .bind(name)
        .execute(&mut *db)
        .await?;
    let details = json!({"email": user.email, "name": name});
    let event = AuditEvent::new(Actor::User(user.id), Action::UserRenamed, user.id, details);
    audit::insert_for_user(db, user.id, &event).await?;
    Ok(User { name: name.to_owned(), ..user })
}
