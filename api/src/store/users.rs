//! Users: the people who hold keys and belong to spaces.

use chrono::{DateTime, Utc};
use contract::ids::UserId;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

/// A user.
#[derive(Debug, Serialize, FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Inserts a user, or renames the one with this address.
pub async fn upsert(db: &mut PgConnection, email: &str, name: &str) -> sqlx::Result<User> {
    sqlx::query_as(
        "insert into users (id, email, name) values ($1, $2, $3)
         on conflict (lower(email)) do update set name = excluded.name
         returning id, email, name, created_at",
    )
    .bind(Uuid::now_v7())
    .bind(email)
    .bind(name)
    .fetch_one(db)
    .await
}

/// Lists all users, by address.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("select id, email, name, created_at from users order by lower(email)").fetch_all(db).await
}

/// Finds the user with this address; the case of its letters does not matter.
pub async fn find(db: impl PgExecutor<'_>, email: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select id, email, name, created_at from users where lower(email) = lower($1)")
        .bind(email)
        .fetch_optional(db)
        .await
}
