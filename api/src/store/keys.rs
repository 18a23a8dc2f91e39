//! API keys: the table of their digests, labels and revocations.

use chrono::{DateTime, Utc};
use contract::ids::{KeyId, UserId};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// A stored key; the secret cannot be read back.
#[derive(Debug, Serialize, FromRow)]
pub struct ApiKey {
    pub id: KeyId,
    pub user_id: UserId,
    pub prefix: String,
    pub label: String,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Inserts a key of a user.
pub async fn insert(
    db: &mut PgConnection,
    user: UserId,
    label: &str,
    prefix: &str,
    sha256: [u8; 32],
) -> sqlx::Result<KeyId> {
    let id = KeyId(Uuid::now_v7());
    sqlx::query(
        "insert into api_keys (id, user_id, label, prefix, secret_sha256) values ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(user)
    .bind(label)
    .bind(prefix)
    .bind(sha256)
    .execute(db)
    .await?;
    Ok(id)
}

/// Lists the keys of a user, oldest first, the revoked ones included.
pub async fn list(db: &PgPool, user: UserId) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as(
        "select id, user_id, prefix, label, created_at, revoked_at from api_keys where user_id = $1
         order by created_at, id",
    )
    .bind(user)
    .fetch_all(db)
    .await
}

/// Finds a key, locked until the transaction ends.
pub async fn find_locked(db: &mut PgConnection, key: KeyId) -> sqlx::Result<Option<ApiKey>> {
    sqlx::query_as(
        "select id, user_id, prefix, label, created_at, revoked_at from api_keys where id = $1 for update",
    )
    .bind(key)
    .fetch_optional(db)
    .await
}

/// Revokes a key, effective at once.
pub async fn revoke(db: &mut PgConnection, key: KeyId) -> sqlx::Result<ApiKey> {
    sqlx::query_as(
        "update api_keys set revoked_at = now() where id = $1
         returning id, user_id, prefix, label, created_at, revoked_at",
    )
    .bind(key)
    .fetch_one(db)
    .await
}
