//! The groups of the OpenID Connect provider that have a role in a space, and the memberships that follow
//! from them. A membership that a person has set does not follow the groups.

use chrono::{DateTime, Utc};
use contract::ids::{GroupMappingId, SpaceId, UserId};
use contract::state::Role;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::members::{self, MemberOutcome, RoleSource};
use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// A group of the OpenID Connect provider, and the role of its members in the space.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct GroupMapping {
    #[schema(value_type = Uuid)]
    pub id: GroupMappingId,
    /// As the provider's groups claim holds it.
    pub group: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
}

/// A membership that differs from what the groups of its user say.
#[derive(FromRow)]
struct OutdatedMembership {
    space_id: SpaceId,
    user_id: UserId,
    /// None when the groups no longer give a role.
    role: Option<Role>,
}

const COLUMNS: &str = "select g.id, g.group_name as \"group\", g.role, g.created_at";

/// The order of mappings: by group.
pub const ORDER: ListOrder = ListOrder::by("g.group_name", KeyKind::Text, "g.id");

/// Lists a page of the mappings of a space, by group.
pub async fn list(db: &PgPool, space: SpaceId, paging: &Paging) -> sqlx::Result<Rows<GroupMapping>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from group_mappings g where g.space_id = ").push_bind(space);
    })
    .await
}

/// Lists all mappings of a space, by group.
pub async fn list_all(db: &PgPool, space: SpaceId) -> sqlx::Result<Vec<GroupMapping>> {
    let mut sql = sqlx::QueryBuilder::new(COLUMNS);
    sql.push(" from group_mappings g where g.space_id = ").push_bind(space).push(" order by 2, 1");
    sql.build_query_as().fetch_all(db).await
}

/// Finds a mapping of a space.
pub async fn find(
    db: impl PgExecutor<'_>,
    space: SpaceId,
    mapping: GroupMappingId,
) -> sqlx::Result<Option<GroupMapping>> {
    let mut sql = sqlx::QueryBuilder::new(COLUMNS);
    sql.push(" from group_mappings g where g.space_id = ").push_bind(space);
    sql.push(" and g.id = ").push_bind(mapping);
    sql.build_query_as().fetch_optional(db).await
}

/// Finds the mapping of a group in a space.
pub async fn find_of_group(
    db: impl PgExecutor<'_>,
    space: SpaceId,
    group: &str,
) -> sqlx::Result<Option<GroupMapping>> {
    let mut sql = sqlx::QueryBuilder::new(COLUMNS);
    sql.push(" from group_mappings g where g.space_id = ").push_bind(space);
    sql.push(" and g.group_name = ").push_bind(group);
    sql.build_query_as().fetch_optional(db).await
}

/// Inserts a mapping; none when the group has one. Members of the group who have signed in become members of
/// the space.
pub async fn insert(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    group: &str,
    role: Role,
) -> sqlx::Result<Option<GroupMappingId>> {
    let inserted: Option<GroupMappingId> = sqlx::query_scalar(
        "insert into group_mappings (id, space_id, group_name, role) values ($1, $2, $3, $4)
         on conflict (space_id, group_name) do nothing returning id",
    )
    .bind(Uuid::now_v7())
    .bind(space)
    .bind(group)
    .bind(role)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(mapping) = inserted {
        let details = json!({"group": group, "role": role});
        record(db, actor, space, mapping, Action::GroupMappingCreated, details).await?;
    }
    Ok(inserted)
}

/// Changes the role of a group.
pub async fn update(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    before: &GroupMapping,
    role: Role,
) -> sqlx::Result<()> {
    if before.role == role {
        return Ok(());
    }
    sqlx::query("update group_mappings set role = $2 where id = $1")
        .bind(before.id)
        .bind(role)
        .execute(&mut *db)
        .await?;
    let details = json!({"group": before.group, "from": before.role, "to": role});
    record(db, actor, space, before.id, Action::GroupMappingChanged, details).await
}

/// Deletes a mapping. Who is a member by this group alone leaves the space.
pub async fn delete(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    before: &GroupMapping,
) -> sqlx::Result<()> {
    sqlx::query("delete from group_mappings where id = $1").bind(before.id).execute(&mut *db).await?;
    let details = json!({"group": before.group, "role": before.role});
    record(db, actor, space, before.id, Action::GroupMappingDeleted, details).await
}

async fn record(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    mapping: GroupMappingId,
    action: Action,
    details: Value,
) -> sqlx::Result<()> {
    audit::insert(db, space, &AuditEvent::new(actor, action, mapping, details)).await?;
    update_memberships(db, actor, Some(space), None).await
}

/// Makes the memberships of a space or of a user agree with the mappings. The last admin of a space stays.
pub async fn update_memberships(
    db: &mut PgConnection,
    actor: Actor,
    space: Option<SpaceId>,
    user: Option<UserId>,
) -> sqlx::Result<()> {
    for outdated in find_outdated(db, space, user).await? {
        let OutdatedMembership { space_id: space, user_id: user, role } = outdated;
        let outcome = match role {
            Some(role) => members::set_role(db, actor, space, user, role, RoleSource::Groups).await?,
            None => members::remove(db, actor, space, user).await?,
        };
        if outcome == MemberOutcome::LastAdmin {
            tracing::warn!(%space, %user, "last admin of a space kept although the groups say otherwise");
        }
    }
    Ok(())
}

async fn find_outdated(
    db: &mut PgConnection,
    space: Option<SpaceId>,
    user: Option<UserId>,
) -> sqlx::Result<Vec<OutdatedMembership>> {
    sqlx::query_as(
        "with roles as (select array['viewer', 'editor', 'admin'] as all_roles),
         wanted as (
             select g.space_id, i.user_id,
                 all_roles[max(array_position(all_roles, g.role))] as role
             from user_identities i join group_mappings g on g.group_name = any(i.groups), roles
             where ($1 is null or g.space_id = $1) and ($2 is null or i.user_id = $2)
             group by g.space_id, i.user_id, all_roles),
         present as (
             select space_id, user_id, role, from_groups from memberships
             where ($1 is null or space_id = $1) and ($2 is null or user_id = $2))
         select coalesce(w.space_id, p.space_id) as space_id, coalesce(w.user_id, p.user_id) as user_id,
             w.role
         from wanted w full join present p on p.space_id = w.space_id and p.user_id = w.user_id
         where p.user_id is null or p.from_groups and p.role is distinct from w.role
         order by 1, 2",
    )
    .bind(space)
    .bind(user)
    .fetch_all(db)
    .await
}
