//! People.

use chrono::{DateTime, Utc};
use contract::ids::UserId;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

/// A person.
#[derive(Debug, Serialize, FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Makes a person, or renames the one with this address.
///
/// # Errors
/// When the database is away.
pub async fn create(db: &mut PgConnection, email: &str, name: &str) -> sqlx::Result<User> {
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

/// Everybody, by address.
///
/// # Errors
/// When the database is away.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("select id, email, name, created_at from users order by lower(email)").fetch_all(db).await
}

/// The person with this address, however its letters are cased.
///
/// # Errors
/// When the database is away.
pub async fn find(db: impl PgExecutor<'_>, email: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select id, email, name, created_at from users where lower(email) = lower($1)")
        .bind(email)
        .fetch_optional(db)
        .await
}
