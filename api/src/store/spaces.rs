//! Spaces.

use chrono::{DateTime, Utc};
use contract::ids::SpaceId;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

/// A space: the tenant that everything belongs to.
#[derive(Debug, Serialize, FromRow)]
pub struct Space {
    pub id: SpaceId,
    pub slug: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Inserts a space, or renames the one with this slug.
pub async fn upsert(db: &mut PgConnection, slug: &str, name: &str) -> sqlx::Result<Space> {
    sqlx::query_as(
        "insert into spaces (id, slug, name) values ($1, $2, $3)
         on conflict (slug) do update set name = excluded.name
         returning id, slug, name, created_at",
    )
    .bind(Uuid::now_v7())
    .bind(slug)
    .bind(name)
    .fetch_one(db)
    .await
}

/// Lists all spaces, by slug.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<Space>> {
    sqlx::query_as("select id, slug, name, created_at from spaces order by slug").fetch_all(db).await
}

/// Finds the space with this slug.
pub async fn find(db: impl PgExecutor<'_>, slug: &str) -> sqlx::Result<Option<Space>> {
    sqlx::query_as("select id, slug, name, created_at from spaces where slug = $1")
        .bind(slug)
        .fetch_optional(db)
        .await
}
