//! Memberships: the role of a user in a space.

use contract::ids::{SpaceId, UserId};
use contract::state::Role;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;

/// A space as a member sees it.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Membership {
    pub slug: String,
    pub name: String,
    pub role: Role,
}

/// A member of a space, as the command line lists one.
#[derive(Debug, Serialize, FromRow)]
pub struct MemberRow {
    /// The user's id.
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
}

/// Adds a member, or replaces the role of an existing one.
pub async fn upsert(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    role: Role,
) -> sqlx::Result<MemberRow> {
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
    .bind(role)
    .fetch_one(db)
    .await
}

/// Finds the role of a user in a space, locked until the transaction ends; none for a user who is not a
/// member.
pub async fn find_role_locked(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
) -> sqlx::Result<Option<Role>> {
    sqlx::query_scalar("select role from memberships where space_id = $1 and user_id = $2 for update")
        .bind(space)
        .bind(user)
        .fetch_optional(db)
        .await
}

/// Lists the members of a space, by address.
pub async fn list(db: &PgPool, space: SpaceId) -> sqlx::Result<Vec<MemberRow>> {
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

/// Lists the spaces that a user is a member of, by slug.
pub async fn list_of_user(db: &PgPool, user: UserId) -> sqlx::Result<Vec<Membership>> {
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
