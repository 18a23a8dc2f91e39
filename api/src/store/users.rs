//! Users: the people who hold keys and belong to spaces.

use chrono::{DateTime, Utc};
use contract::ids::{SpaceId, UserId};
use contract::state::Role;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// A user.
#[derive(Debug, Serialize, FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
    /// Since when the user may not sign in.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// A user whom an admin may add to a space.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct PersonEntry {
    #[schema(value_type = Uuid)]
    pub id: UserId,
    pub name: String,
    pub email: String,
    /// The role in the space; null for a user who is not a member.
    pub role: Option<Role>,
}

/// Inserts a user, or renames the one with this address.
pub async fn upsert(db: &mut PgConnection, email: &str, name: &str) -> sqlx::Result<User> {
    sqlx::query_as(
        "insert into users (id, email, name) values ($1, $2, $3)
         on conflict (lower(email)) do update set name = excluded.name
         returning id, email, name, created_at, disabled_at",
    )
    .bind(Uuid::now_v7())
    .bind(email)
    .bind(name)
    .fetch_one(db)
    .await
}

/// Lists all users, by address.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("select id, email, name, created_at, disabled_at from users order by lower(email)")
        .fetch_all(db)
        .await
}

/// Finds the user with this address; the case of its letters does not matter.
pub async fn find(db: impl PgExecutor<'_>, email: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as(
        "select id, email, name, created_at, disabled_at from users where lower(email) = lower($1)",
    )
    .bind(email)
    .fetch_optional(db)
    .await
}

/// The order of people: by name.
pub const PEOPLE_ORDER: ListOrder = ListOrder::by("lower(u.name)", KeyKind::Text, "u.id");

/// Lists a page of the users who may sign in, by name: the one with this address, and those who share a space
/// with the caller and have the text in their name or address.
pub async fn list_people(
    db: &PgPool,
    space: SpaceId,
    caller: UserId,
    text: &str,
    paging: &Paging,
) -> sqlx::Result<Rows<PersonEntry>> {
    page::read(db, paging, "select u.id, u.name, u.email, m.role", |sql| {
        sql.push(" from users u left join memberships m on m.user_id = u.id and m.space_id = ");
        sql.push_bind(space).push(" where u.disabled_at is null and (lower(u.email) = lower(");
        sql.push_bind(text.to_owned());
        sql.push(") or strpos(lower(concat_ws(' ', u.name, u.email)), lower(").push_bind(text.to_owned());
        sql.push(")) > 0 and exists (select from memberships own join memberships theirs");
        sql.push(" on theirs.space_id = own.space_id and theirs.user_id = u.id where own.user_id = ");
        sql.push_bind(caller).push("))");
    })
    .await
}

/// Disables a user, which ends all sessions, or enables one.
pub async fn set_disabled(db: &mut PgConnection, user: UserId, is_disabled: bool) -> sqlx::Result<User> {
    if is_disabled {
        sqlx::query("delete from sessions where user_id = $1").bind(user).execute(&mut *db).await?;
    }
    sqlx::query_as(
        "update users set disabled_at = case when $2 then coalesce(disabled_at, now()) end where id = $1
         returning id, email, name, created_at, disabled_at",
    )
    .bind(user)
    .bind(is_disabled)
    .fetch_one(db)
    .await
}
