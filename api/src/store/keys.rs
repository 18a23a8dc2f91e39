//! API keys: the table of their digests, labels, limits and revocations.

use chrono::{DateTime, Utc};
use contract::ids::{KeyId, UserId};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The most valid keys of a user that are created over HTTP.
pub const MAX_KEYS: i64 = 100;

/// A key to be stored.
pub struct NewKey<'a> {
    pub user: UserId,
    pub label: &'a str,
    pub prefix: &'a str,
    pub sha256: [u8; 32],
    pub read_only: bool,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A stored key, as the command line lists one; the secret cannot be read back.
#[derive(Debug, Serialize, FromRow)]
pub struct ApiKey {
    pub id: KeyId,
    pub user_id: UserId,
    pub email: String,
    pub prefix: String,
    pub label: String,
    pub read_only: bool,
    pub created_at: DateTime<Utc>,
    /// To the hour.
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key of the caller.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ApiKey)]
pub struct OwnKey {
    #[schema(value_type = Uuid)]
    pub id: KeyId,
    /// What it is for.
    pub label: String,
    /// How it begins.
    pub prefix: String,
    /// Whether it may not write.
    pub read_only: bool,
    /// When it becomes invalid.
    pub expires_at: Option<DateTime<Utc>>,
    /// To the hour.
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// Inserts a key of a user.
pub async fn insert(db: &mut PgConnection, new: &NewKey<'_>) -> sqlx::Result<KeyId> {
    let id = KeyId(Uuid::now_v7());
    sqlx::query(
        "insert into api_keys (id, user_id, label, prefix, secret_sha256, read_only, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(new.user)
    .bind(new.label)
    .bind(new.prefix)
    .bind(new.sha256)
    .bind(new.read_only)
    .bind(new.expires_at)
    .execute(db)
    .await?;
    Ok(id)
}

/// Returns the number of valid keys of a user.
pub async fn count_valid(db: &mut PgConnection, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from api_keys
         where user_id = $1 and revoked_at is null and coalesce(expires_at > now(), true)",
    )
    .bind(user)
    .fetch_one(db)
    .await
}

const OWN_COLUMNS: &str =
    "select k.id, k.label, k.prefix, k.read_only, k.expires_at, used.used_at as last_used_at, k.created_at";

/// The order of one's own keys: newest first.
pub const ORDER: ListOrder = ListOrder::by("k.created_at", KeyKind::Time, "k.id").descending();

/// Lists a page of the keys of a user that are not revoked, newest first.
pub async fn list_own(db: &PgPool, user: UserId, paging: &Paging) -> sqlx::Result<Rows<OwnKey>> {
    page::read(db, paging, OWN_COLUMNS, |sql| {
        sql.push(" from api_keys k left join api_key_uses used on used.key_id = k.id");
        sql.push(" where k.revoked_at is null and k.user_id = ").push_bind(user);
    })
    .await
}

/// Finds a key of a user that is not revoked.
pub async fn find_own(db: &PgPool, user: UserId, key: KeyId) -> sqlx::Result<Option<OwnKey>> {
    sqlx::query_as(
        "select k.id, k.label, k.prefix, k.read_only, k.expires_at, used.used_at as last_used_at, k.created_at
         from api_keys k left join api_key_uses used on used.key_id = k.id
         where k.id = $1 and k.user_id = $2 and k.revoked_at is null",
    )
    .bind(key)
    .bind(user)
    .fetch_optional(db)
    .await
}

/// Lists the keys of a user, or of all users, oldest first, the revoked ones included.
pub async fn list(db: &PgPool, user: Option<UserId>) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as(
        "select k.id, k.user_id, u.email, k.prefix, k.label, k.read_only, k.created_at,
             used.used_at as last_used_at, k.expires_at, k.revoked_at
         from api_keys k join users u on u.id = k.user_id left join api_key_uses used on used.key_id = k.id
         where $1 is null or k.user_id = $1
         order by k.created_at, k.id",
    )
    .bind(user)
    .fetch_all(db)
    .await
}

/// Finds a key, locked until the transaction ends.
pub async fn find_locked(db: &mut PgConnection, key: KeyId) -> sqlx::Result<Option<ApiKey>> {
    sqlx::query_as(
        "select k.id, k.user_id, u.email, k.prefix, k.label, k.read_only, k.created_at,
             used.used_at as last_used_at, k.expires_at, k.revoked_at
         from api_keys k join users u on u.id = k.user_id left join api_key_uses used on used.key_id = k.id
         where k.id = $1 for update of k",
    )
    .bind(key)
    .fetch_optional(db)
    .await
}

/// Revokes a key, effective at once. The sessions that were begun with it end with it.
pub async fn revoke(db: &mut PgConnection, key: KeyId) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query("delete from sessions where key_id = $1").bind(key).execute(&mut *db).await?;
    sqlx::query_scalar("update api_keys set revoked_at = now() where id = $1 returning revoked_at")
        .bind(key)
        .fetch_one(db)
        .await
}
