//! The teams of a space.

use contract::ids::{SpaceId, TeamId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{Paging, Rows};

/// A team.
#[derive(Debug, Serialize, Deserialize, FromRow, ToSchema)]
pub struct Team {
    #[schema(value_type = Uuid)]
    pub id: TeamId,
    pub name: String,
}

/// Inserts a team, or finds the one with this name.
pub async fn upsert(db: &mut PgConnection, space: SpaceId, name: &str) -> sqlx::Result<Team> {
    sqlx::query_as(
        "insert into teams (id, space_id, name) values ($1, $2, $3)
         on conflict (space_id, name) do update set name = excluded.name
         returning id, name",
    )
    .bind(Uuid::now_v7())
    .bind(space)
    .bind(name)
    .fetch_one(db)
    .await
}

/// Finds the team with this name.
pub async fn find(db: &mut PgConnection, space: SpaceId, name: &str) -> sqlx::Result<Option<Team>> {
    sqlx::query_as("select id, name from teams where space_id = $1 and name = $2")
        .bind(space)
        .bind(name)
        .fetch_optional(db)
        .await
}

/// Lists all teams of a space, by name.
pub async fn list_all(db: &PgPool, space: SpaceId) -> sqlx::Result<Vec<Team>> {
    sqlx::query_as("select id, name from teams where space_id = $1 order by name, id")
        .bind(space)
        .fetch_all(db)
        .await
}

/// Lists a page of the teams of a space, by name.
pub async fn list(db: &PgPool, space: SpaceId, paging: Paging) -> sqlx::Result<Rows<Team>> {
    let rows =
        sqlx::query_as("select id, name from teams where space_id = $1 order by name, id limit $2 offset $3")
            .bind(space)
            .bind(paging.limit())
            .bind(paging.offset())
            .fetch_all(db)
            .await?;
    let total = sqlx::query_scalar("select count(*) from teams where space_id = $1")
        .bind(space)
        .fetch_one(db)
        .await?;
    Ok(Rows { rows, total })
}

/// Returns whether the space has this team.
pub async fn exists(db: &PgPool, space: SpaceId, team: TeamId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from teams where id = $1 and space_id = $2)")
        .bind(team)
        .bind(space)
        .fetch_one(db)
        .await
}
