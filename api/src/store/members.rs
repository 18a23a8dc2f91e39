//! Who belongs to a space, and as what.

use contract::ids::{SpaceId, UserId};
use contract::state::Role;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;

use crate::openapi::RoleWord;

/// A space as a member sees it.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Membership {
    pub slug: String,
    pub name: String,
    #[schema(value_type = RoleWord)]
    pub role: Role,
}

/// A person in a space.
#[derive(Debug, Serialize, FromRow)]
pub struct Member {
    /// The person's id.
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
}

/// Gives a person a role, instead of the one they had.
///
/// # Errors
/// When the database is away.
pub async fn set(db: &mut PgConnection, space: SpaceId, user: UserId, role: Role) -> sqlx::Result<Member> {
    sqlx::query_as(
        "with membership as (
             insert into memberships (space_id, user_id, role) values ($1, $2, $3)
             on conflict (space_id, user_id) do update set role = excluded.role
             returning user_id, role
         )
         select users.id, users.email, users.name, membership.role
         from membership join users on users.id = membership.user_id",
    )
    .bind(space)
    .bind(user)
    .bind(role.to_string())
    .fetch_one(db)
    .await
}

/// What a person is in a space, if anything.
///
/// # Errors
/// When the database is away.
pub async fn role(db: &mut PgConnection, space: SpaceId, user: UserId) -> sqlx::Result<Option<Role>> {
    sqlx::query_scalar("select role from memberships where space_id = $1 and user_id = $2 for update")
        .bind(space)
        .bind(user)
        .fetch_optional(db)
        .await
}

/// A space's members, by address.
///
/// # Errors
/// When the database is away.
pub async fn list(db: &PgPool, space: SpaceId) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as(
        "select users.id, users.email, users.name, memberships.role
         from memberships join users on users.id = memberships.user_id
         where memberships.space_id = $1
         order by lower(users.email)",
    )
    .bind(space)
    .fetch_all(db)
    .await
}

/// The spaces a person belongs to, by slug.
///
/// # Errors
/// When the database is away.
pub async fn of(db: &PgPool, user: UserId) -> sqlx::Result<Vec<Membership>> {
    sqlx::query_as(
        "select spaces.slug, spaces.name, memberships.role
         from memberships join spaces on spaces.id = memberships.space_id
         where memberships.user_id = $1
         order by spaces.slug",
    )
    .bind(user)
    .fetch_all(db)
    .await
}
