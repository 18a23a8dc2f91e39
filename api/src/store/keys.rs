//! API keys: `qk_`, a prefix to know one by, and 256 random bits. Only the SHA-256 of a key is kept.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use contract::ids::{KeyId, UserId};
use rand::RngCore;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// What every key starts with.
pub const SCHEME: &str = "qk_";

/// A key as it may be shown ever after.
#[derive(Debug, Serialize, FromRow)]
pub struct Key {
    pub id: KeyId,
    pub user_id: UserId,
    pub prefix: String,
    pub label: String,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key as it is shown once.
#[derive(Serialize)]
pub struct NewKey {
    pub id: KeyId,
    pub key: String,
    pub label: String,
}

/// What a key is known by in the database.
pub fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Makes a key that speaks for this person.
///
/// # Errors
/// When the database is away.
pub async fn create(db: &mut PgConnection, user: UserId, label: &str) -> sqlx::Result<NewKey> {
    let mut bits = [0; 6 + 32];
    rand::rng().fill_bytes(&mut bits);
    let (prefix, secret) = bits.split_at(6);
    let prefix = format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(prefix));
    let key = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(secret));
    let id = KeyId(Uuid::now_v7());
    sqlx::query(
        "insert into api_keys (id, user_id, label, prefix, secret_sha256) values ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(user)
    .bind(label)
    .bind(prefix)
    .bind(digest(&key))
    .execute(db)
    .await?;
    Ok(NewKey { id, key, label: label.to_owned() })
}

/// A person's keys, oldest first, the revoked ones included.
///
/// # Errors
/// When the database is away.
pub async fn list(db: &PgPool, user: UserId) -> sqlx::Result<Vec<Key>> {
    sqlx::query_as(
        "select id, user_id, prefix, label, created_at, revoked_at from api_keys where user_id = $1
         order by created_at, id",
    )
    .bind(user)
    .fetch_all(db)
    .await
}

/// A key, kept from being changed by anyone else in the meantime.
///
/// # Errors
/// When the database is away.
pub async fn find(db: &mut PgConnection, key: KeyId) -> sqlx::Result<Option<Key>> {
    sqlx::query_as(
        "select id, user_id, prefix, label, created_at, revoked_at from api_keys where id = $1 for update",
    )
    .bind(key)
    .fetch_optional(db)
    .await
}

/// Makes a key worthless.
///
/// # Errors
/// When there is none of this id, or the database is away.
pub async fn revoke(db: &mut PgConnection, key: KeyId) -> sqlx::Result<Key> {
    sqlx::query_as(
        "update api_keys set revoked_at = now() where id = $1
         returning id, user_id, prefix, label, created_at, revoked_at",
    )
    .bind(key)
    .fetch_one(db)
    .await
}
