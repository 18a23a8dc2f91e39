//! Browser sessions: the table of their digests, times and keys.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ids::{KeyId, SessionId, UserId};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The most sessions of a user; a further one ends the one that was used least recently.
const MAX_SESSIONS: i64 = 100;

/// A session that begins.
pub struct NewSession<'a> {
    pub user: UserId,
    /// The key that was exchanged for it; none after a sign-in at an OpenID Connect provider.
    pub key: Option<KeyId>,
    pub sha256: [u8; 32],
    pub user_agent: Option<&'a str>,
    pub lifetime: Duration,
}

/// A browser session of a user.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct SessionEntry {
    #[schema(value_type = Uuid)]
    pub id: SessionId,
    /// Whether this request was made with it.
    #[sqlx(default)]
    pub is_current: bool,
    /// The key that was exchanged for it; null after a sign-in at an OpenID Connect provider.
    #[schema(value_type = Option<Uuid>)]
    pub key_id: Option<KeyId>,
    pub key_label: Option<String>,
    /// Whether it only reads, as its key does.
    pub read_only: bool,
    /// What the browser called itself.
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    /// To the minute.
    pub last_used_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// Inserts a session, and returns its id and its end. Expired sessions are deleted, and those of this user
/// that exceed the maximum.
pub async fn insert(db: &mut PgConnection, new: &NewSession<'_>) -> sqlx::Result<(SessionId, DateTime<Utc>)> {
    sqlx::query("delete from sessions where expires_at < now()").execute(&mut *db).await?;
    sqlx::query(
        "delete from sessions where id in (select id from sessions where user_id = $1
             order by last_used_at desc, id desc offset $2)",
    )
    .bind(new.user)
    .bind(MAX_SESSIONS - 1)
    .execute(&mut *db)
    .await?;
    sqlx::query_as(
        "insert into sessions (id, user_id, key_id, secret_sha256, user_agent, expires_at)
         values ($1, $2, $3, $4, $5, date_trunc('second', now() + interval '1 s' * $6))
         returning id, expires_at",
    )
    .bind(Uuid::now_v7())
    .bind(new.user)
    .bind(new.key)
    .bind(new.sha256)
    .bind(new.user_agent)
    .bind(new.lifetime.as_secs_f64())
    .fetch_one(db)
    .await
}

/// Finds when a session ends at the latest, and whether it began at an OpenID Connect provider.
pub async fn find_end(db: &PgPool, session: SessionId) -> sqlx::Result<Option<(DateTime<Utc>, bool)>> {
    let query = sqlx::query_as("select expires_at, key_id is null from sessions where id = $1");
    query.bind(session).fetch_optional(db).await
}

const COLUMNS: &str = "select b.id, b.key_id, k.label as key_label,
    coalesce(k.read_only, false) as read_only, b.user_agent, b.created_at, b.last_used_at, b.expires_at";

/// The order of sessions: newest first.
pub const ORDER: ListOrder = ListOrder::by("b.created_at", KeyKind::Time, "b.id").descending();

/// Lists a page of the valid sessions of a user, newest first.
pub async fn list(
    db: &PgPool,
    user: UserId,
    current: Option<SessionId>,
    idle: Duration,
    paging: &Paging,
) -> sqlx::Result<Rows<SessionEntry>> {
    let mut page: Rows<SessionEntry> = page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from sessions b left join api_keys k on k.id = b.key_id where b.user_id = ");
        sql.push_bind(user).push(" and b.expires_at > now() and b.last_used_at > now() - interval '1 s' * ");
        sql.push_bind(idle.as_secs_f64());
        sql.push(" and k.revoked_at is null and coalesce(k.expires_at > now(), true)");
    })
    .await?;
    page.rows.iter_mut().for_each(|session| session.is_current = Some(session.id) == current);
    Ok(page)
}

/// Ends a session of a user; false when the user has no such session.
pub async fn delete(db: &mut PgConnection, user: UserId, session: SessionId) -> sqlx::Result<bool> {
    let query = sqlx::query("delete from sessions where id = $1 and user_id = $2");
    Ok(query.bind(session).bind(user).execute(db).await?.rows_affected() > 0)
}
