//! Memberships: the role of a user in a space.

use chrono::{DateTime, Utc};
use contract::ids::{SpaceId, UserId};
use contract::state::Role;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};
use super::teams;

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

/// A member of a space.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = Member)]
pub struct SpaceMemberEntry {
    #[sqlx(json)]
    pub user: MemberUser,
    pub role: Role,
    /// When the user became a member.
    pub since: DateTime<Utc>,
}

/// The user of a membership.
#[derive(Debug, Serialize, serde::Deserialize, ToSchema)]
pub struct MemberUser {
    #[schema(value_type = Uuid)]
    pub id: UserId,
    pub name: String,
    /// For admins of the space alone, else null.
    pub email: Option<String>,
}

/// What a membership follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleSource {
    /// An admin or an operator has set it.
    Person,
    /// The groups of the user at the OpenID Connect provider.
    Groups,
}

/// What became of a change of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    Done,
    /// There is no such user, or the user is not a member.
    NotFound,
    /// The space would be left without an admin.
    LastAdmin,
}

/// Adds a member, or replaces the role of an existing one. What a person sets no longer follows groups.
pub async fn set_role(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    user: UserId,
    role: Role,
    source: RoleSource,
) -> sqlx::Result<MemberOutcome> {
    let is_last_admin = is_last_admin(db, space, user).await?;
    let before = find_role_locked(db, space, user).await?;
    if is_last_admin && role != Role::Admin {
        return Ok(MemberOutcome::LastAdmin);
    }
    let set = sqlx::query(
        "insert into memberships (space_id, user_id, role, from_groups) select $1, id, $3, $4 from users
         where id = $2
         on conflict (space_id, user_id) do update set role = excluded.role,
             from_groups = excluded.from_groups",
    )
    .bind(space)
    .bind(user)
    .bind(role)
    .bind(source == RoleSource::Groups)
    .execute(&mut *db)
    .await?;
    if set.rows_affected() == 0 {
        return Ok(MemberOutcome::NotFound);
    }
    if before != Some(role) {
        record_role(db, actor, space, user, before, Some(role)).await?;
    }
    Ok(MemberOutcome::Done)
}

/// Removes a member, also from the teams and the watchers of the space. The sessions of a user without any
/// space end.
pub async fn remove(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    user: UserId,
) -> sqlx::Result<MemberOutcome> {
    if is_last_admin(db, space, user).await? {
        return Ok(MemberOutcome::LastAdmin);
    }
    let Some(before) = find_role_locked(db, space, user).await? else {
        return Ok(MemberOutcome::NotFound);
    };
    for statement in [
        "delete from memberships where space_id = $1 and user_id = $2",
        "delete from pipeline_watches where space_id = $1 and user_id = $2",
        "delete from sessions where user_id = $2
             and not exists (select from memberships where user_id = $2 and space_id <> $1)",
    ] {
        sqlx::query(statement).bind(space).bind(user).execute(&mut *db).await?;
    }
    teams::remove_from_all(db, actor, space, user).await?;
    record_role(db, actor, space, user, Some(before), None).await?;
    Ok(MemberOutcome::Done)
}

async fn record_role(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    user: UserId,
    from: Option<Role>,
    to: Option<Role>,
) -> sqlx::Result<()> {
    let event = AuditEvent::new(actor, Action::UserRoleChanged, user, json!({"from": from, "to": to}));
    audit::insert(db, space, &event).await
}

/// Returns whether a user is the only admin of a space who is not disabled. All admins are locked until the
/// transaction ends, so that two of them cannot remove each other at the same time.
async fn is_last_admin(db: &mut PgConnection, space: SpaceId, user: UserId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "with admins as materialized (
             select user_id from memberships where space_id = $1 and role = 'admin'
             order by user_id for update)
         select exists (select from admins where user_id = $2) and not exists (
             select from admins join users on users.id = admins.user_id
             where admins.user_id <> $2 and users.disabled_at is null)",
    )
    .bind(space)
    .bind(user)
    .fetch_one(db)
    .await
}

/// Finds the role of a user in a space, locked until the transaction ends; none for a user who is not a
/// member.
async fn find_role_locked(db: &mut PgConnection, space: SpaceId, user: UserId) -> sqlx::Result<Option<Role>> {
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

const COLUMNS: &str = "select u.id, m.role, m.created_at as since,
    jsonb_build_object('id', u.id, 'name', u.name, 'email', u.email) as \"user\"";

/// The order of members: by name.
pub const ORDER: ListOrder = ListOrder::by("lower(u.name)", KeyKind::Text, "u.id");

/// Lists a page of the members of a space, by name.
pub async fn list_page(db: &PgPool, space: SpaceId, paging: &Paging) -> sqlx::Result<Rows<SpaceMemberEntry>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from memberships m join users u on u.id = m.user_id where m.space_id = ").push_bind(space);
    })
    .await
}

/// Finds a member of a space.
pub async fn find(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
) -> sqlx::Result<Option<SpaceMemberEntry>> {
    let mut sql = sqlx::QueryBuilder::new(COLUMNS);
    sql.push(" from memberships m join users u on u.id = m.user_id where m.space_id = ").push_bind(space);
    sql.push(" and m.user_id = ").push_bind(user);
    sql.build_query_as().fetch_optional(db).await
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
