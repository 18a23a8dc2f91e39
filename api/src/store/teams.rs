//! The teams of a space, and their members.

use chrono::{DateTime, Utc};
use contract::ids::{SpaceId, TeamId, UserId};
use contract::state::TeamRole;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::governance;
use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// A team.
#[derive(Debug, Serialize, Deserialize, FromRow, ToSchema)]
pub struct Team {
    #[schema(value_type = Uuid)]
    pub id: TeamId,
    pub name: String,
}

/// A team with its manager and the number of its members.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = TeamDetail)]
pub struct TeamEntry {
    #[schema(value_type = Uuid)]
    pub id: TeamId,
    pub name: String,
    pub description: Option<String>,
    #[sqlx(json(nullable))]
    pub manager: Option<TeamManager>,
    /// The manager included.
    pub member_count: i64,
    pub created_at: DateTime<Utc>,
}

/// The manager of a team.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TeamManager {
    #[schema(value_type = Uuid)]
    pub id: UserId,
    pub full_name: String,
}

/// A member of a team.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = TeamMember)]
pub struct TeamMemberEntry {
    #[sqlx(json)]
    pub user: TeamUser,
    pub role: TeamRole,
    /// When the user became a member.
    pub since: DateTime<Utc>,
}

/// The user of a membership of a team.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TeamUser {
    #[schema(value_type = Uuid)]
    pub id: UserId,
    pub name: String,
}

/// What is to change of a team; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct TeamUpdate {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
}

/// What became of a change of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamOutcome {
    Done,
    NotFound,
    NameTaken,
}

const COLUMNS: &str = "select t.id, t.name, t.description, t.created_at,
    (select jsonb_build_object('id', u.id, 'full_name', u.name) from team_members m
     join users u on u.id = m.user_id where m.team_id = t.id and m.role = 'manager') as manager,
    (select count(*) from team_members m where m.team_id = t.id) as member_count";

/// The order of teams: by name.
pub const ORDER: ListOrder = ListOrder::by("t.name", KeyKind::Text, "t.id");

/// Inserts an empty team; none when the name is taken.
pub async fn insert(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    name: &str,
    description: Option<&str>,
) -> sqlx::Result<Option<TeamId>> {
    let inserted: Option<TeamId> = sqlx::query_scalar(
        "insert into teams (id, space_id, name, description) values ($1, $2, $3, $4)
         on conflict (space_id, name) do nothing returning id",
    )
    .bind(Uuid::now_v7())
    .bind(space)
    .bind(name)
    .bind(description)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(team) = inserted {
        record(db, actor, space, team, Action::TeamCreated, json!({ "name": name })).await?;
    }
    Ok(inserted)
}

/// Changes the name and the description of a team.
pub async fn update(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    change: &TeamUpdate,
) -> sqlx::Result<TeamOutcome> {
    let before: Option<(String, Option<String>)> =
        sqlx::query_as("select name, description from teams where id = $1 and space_id = $2 for update")
            .bind(team)
            .bind(space)
            .fetch_optional(&mut *db)
            .await?;
    let Some((name, description)) = before else { return Ok(TeamOutcome::NotFound) };
    let new_name = change.name.as_ref().unwrap_or(&name);
    let new_description = change.description.as_ref().unwrap_or(&description);
    let updated = sqlx::query("update teams set name = $2, description = $3 where id = $1")
        .bind(team)
        .bind(new_name)
        .bind(new_description)
        .execute(&mut *db)
        .await;
    if let Err(error) = updated {
        let is_name_taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        return if is_name_taken { Ok(TeamOutcome::NameTaken) } else { Err(error) };
    }
    if (new_name, new_description) != (&name, &description) {
        let details = json!({"from": {"name": name, "description": description},
            "to": {"name": new_name, "description": new_description}});
        record(db, actor, space, team, Action::TeamChanged, details).await?;
        if new_name != &name {
            governance::publish_team(db, actor, space, team).await?;
        }
    }
    Ok(TeamOutcome::Done)
}

/// Deletes a team; its pipelines are owned by no team afterwards. False when there is no such team.
pub async fn delete(db: &mut PgConnection, actor: Actor, space: SpaceId, team: TeamId) -> sqlx::Result<bool> {
    let locked = sqlx::query_scalar("select name from teams where id = $1 and space_id = $2 for update");
    let Some(name) = locked.bind(team).bind(space).fetch_optional(&mut *db).await? else {
        return Ok(false);
    };
    let name: String = name;
    let pipelines = governance::clear_team(db, actor, space, team).await?;
    sqlx::query("delete from teams where id = $1").bind(team).execute(&mut *db).await?;
    let details = json!({"name": name, "pipelines": pipelines});
    record(db, actor, space, team, Action::TeamDeleted, details).await?;
    Ok(true)
}

/// Adds a member of the space to a team, or changes the role of a member. The previous manager of the team
/// becomes a member. False when the team or the member of the space does not exist.
pub async fn set_member(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    user: UserId,
    role: TeamRole,
) -> sqlx::Result<bool> {
    // The lock orders changes of the manager of a team.
    let locked = sqlx::query("select from teams where id = $1 and space_id = $2 for update");
    if locked.bind(team).bind(space).fetch_optional(&mut *db).await?.is_none() {
        return Ok(false);
    }
    let before = find_role(&mut *db, team, user).await?;
    if role == TeamRole::Manager {
        demote_manager(db, actor, space, team, user).await?;
    }
    let set = sqlx::query(
        "insert into team_members (team_id, user_id, role)
         select $1, user_id, $3 from memberships where user_id = $2 and space_id = $4
         on conflict (team_id, user_id) do update set role = excluded.role",
    )
    .bind(team)
    .bind(user)
    .bind(role)
    .bind(space)
    .execute(&mut *db)
    .await?;
    if set.rows_affected() > 0 && before != Some(role) {
        record_role(db, actor, space, team, user, (before, Some(role))).await?;
    }
    Ok(set.rows_affected() > 0)
}

/// Makes the manager of a team a member, unless it is this user.
async fn demote_manager(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    user: UserId,
) -> sqlx::Result<()> {
    let demoted: Option<UserId> = sqlx::query_scalar(
        "update team_members set role = 'member'
         where team_id = $1 and role = 'manager' and user_id <> $2 returning user_id",
    )
    .bind(team)
    .bind(user)
    .fetch_optional(&mut *db)
    .await?;
    match demoted {
        Some(demoted) => {
            let roles = (Some(TeamRole::Manager), Some(TeamRole::Member));
            record_role(db, actor, space, team, demoted, roles).await
        }
        None => Ok(()),
    }
}

/// Removes a member of a team; false when there is none.
pub async fn remove_member(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    user: UserId,
) -> sqlx::Result<bool> {
    let removed: Option<TeamRole> = sqlx::query_scalar(
        "delete from team_members using teams where teams.id = team_members.team_id and teams.space_id = $3
             and team_members.team_id = $1 and team_members.user_id = $2 returning role",
    )
    .bind(team)
    .bind(user)
    .bind(space)
    .fetch_optional(&mut *db)
    .await?;
    if removed.is_some() {
        record_role(db, actor, space, team, user, (removed, None)).await?;
    }
    Ok(removed.is_some())
}

/// Removes a user from all teams of a space.
pub(super) async fn remove_from_all(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    user: UserId,
) -> sqlx::Result<()> {
    let left: Vec<(TeamId, TeamRole)> = sqlx::query_as(
        "delete from team_members using teams
         where teams.id = team_members.team_id and teams.space_id = $1 and team_members.user_id = $2
         returning teams.id, team_members.role",
    )
    .bind(space)
    .bind(user)
    .fetch_all(&mut *db)
    .await?;
    for (team, role) in left {
        record_role(db, actor, space, team, user, (Some(role), None)).await?;
    }
    Ok(())
}

/// Records that the role of a user in a team has changed; none before for one who was not in it, and none
/// after for one who has left.
async fn record_role(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    user: UserId,
    (from, to): (Option<TeamRole>, Option<TeamRole>),
) -> sqlx::Result<()> {
    let details = json!({"user_id": user, "from": from, "to": to});
    record(db, actor, space, team, Action::TeamMemberChanged, details).await
}

async fn record(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
    action: Action,
    details: Value,
) -> sqlx::Result<()> {
    audit::insert(db, space, &AuditEvent::new(actor, action, team, details)).await
}

async fn find_role(db: impl PgExecutor<'_>, team: TeamId, user: UserId) -> sqlx::Result<Option<TeamRole>> {
    sqlx::query_scalar("select role from team_members where team_id = $1 and user_id = $2")
        .bind(team)
        .bind(user)
        .fetch_optional(db)
        .await
}

/// Finds the team with this name.
pub async fn find_named(
    db: &mut PgConnection,
    space: SpaceId,
    name: &str,
) -> sqlx::Result<Option<TeamEntry>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from teams t where t.space_id = ").push_bind(space).push(" and t.name = ").push_bind(name);
    sql.build_query_as().fetch_optional(db).await
}

/// Finds a team of a space.
pub async fn find(db: impl PgExecutor<'_>, space: SpaceId, team: TeamId) -> sqlx::Result<Option<TeamEntry>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from teams t where t.space_id = ").push_bind(space).push(" and t.id = ").push_bind(team);
    sql.build_query_as().fetch_optional(db).await
}

/// Lists all teams of a space, by name.
pub async fn list_all(db: &PgPool, space: SpaceId) -> sqlx::Result<Vec<TeamEntry>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from teams t where t.space_id = ").push_bind(space).push(" order by t.name, t.id");
    sql.build_query_as().fetch_all(db).await
}

/// Lists a page of the teams of a space, by name.
pub async fn list(db: &PgPool, space: SpaceId, paging: &Paging) -> sqlx::Result<Rows<TeamEntry>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from teams t where t.space_id = ").push_bind(space);
    })
    .await
}

const MEMBER_COLUMNS: &str = "select u.id, m.role, m.created_at as since,
    jsonb_build_object('id', u.id, 'name', u.name) as \"user\"";

/// The order of the members of a team: by name.
pub const MEMBER_ORDER: ListOrder = ListOrder::by("lower(u.name)", KeyKind::Text, "u.id");

/// Lists a page of the members of a team, by name.
pub async fn list_members(
    db: &PgPool,
    space: SpaceId,
    team: TeamId,
    paging: &Paging,
) -> sqlx::Result<Rows<TeamMemberEntry>> {
    page::read(db, paging, MEMBER_COLUMNS, |sql| {
        push_members(sql, space, team);
    })
    .await
}

/// Lists all members of a team, by name.
pub async fn list_all_members(
    db: &PgPool,
    space: SpaceId,
    team: TeamId,
) -> sqlx::Result<Vec<TeamMemberEntry>> {
    let mut sql = QueryBuilder::new(MEMBER_COLUMNS);
    push_members(&mut sql, space, team);
    sql.push(" order by lower(u.name), u.id").build_query_as().fetch_all(db).await
}

/// Finds a member of a team.
pub async fn find_member(
    db: &PgPool,
    space: SpaceId,
    team: TeamId,
    user: UserId,
) -> sqlx::Result<Option<TeamMemberEntry>> {
    let mut sql = QueryBuilder::new(MEMBER_COLUMNS);
    push_members(&mut sql, space, team);
    sql.push(" and m.user_id = ").push_bind(user);
    sql.build_query_as().fetch_optional(db).await
}

fn push_members(sql: &mut QueryBuilder<sqlx::Postgres>, space: SpaceId, team: TeamId) {
    sql.push(
        " from team_members m join users u on u.id = m.user_id join teams t on t.id = m.team_id
         where t.space_id = ",
    );
    sql.push_bind(space).push(" and m.team_id = ").push_bind(team);
}

/// Returns whether the space has this team.
pub async fn exists(db: &PgPool, space: SpaceId, team: TeamId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from teams where id = $1 and space_id = $2)")
        .bind(team)
        .bind(space)
        .fetch_one(db)
        .await
}
