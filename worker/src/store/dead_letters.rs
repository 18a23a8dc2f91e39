//! `dead_letters`: records that could not be applied, with the reason.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A record to store as a dead letter.
#[derive(Clone, Copy)]
pub(crate) struct NewDeadLetter<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    pub headers: &'a BTreeMap<String, String>,
    /// The payload or, if that is too large, its beginning.
    pub payload: Option<&'a [u8]>,
    /// Of the whole payload, if only its beginning is stored.
    pub whole: Option<WholePayload>,
    pub error: &'a str,
}

/// The size and the hash of a payload of which only the beginning is stored.
#[derive(Clone, Copy)]
pub(crate) struct WholePayload {
    pub bytes: i64,
    pub sha256: [u8; 32],
}

/// Stores a dead letter, unless it is stored already.
pub(crate) async fn insert(db: &mut PgConnection, letter: &NewDeadLetter<'_>) -> sqlx::Result<()> {
    let whole = letter.whole.as_ref();
    sqlx::query(
        r#"insert into dead_letters (id, topic, partition, "offset", key, headers, payload, payload_bytes,
               payload_sha256, error)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           on conflict (topic, partition, "offset") do nothing"#,
    )
    .bind(Uuid::now_v7())
    .bind(letter.topic)
    .bind(letter.partition)
    .bind(letter.offset)
    .bind(letter.key)
    .bind(Json(letter.headers))
    .bind(letter.payload)
    .bind(whole.map(|whole| whole.bytes))
    .bind(whole.map(|whole| &whole.sha256[..]))
    .bind(letter.error)
    .execute(db)
    .await?;
    Ok(())
}

/// How many open dead letters there are, and the bytes of their payloads.
#[derive(sqlx::FromRow)]
pub(crate) struct OpenLetters {
    pub count: i64,
    pub bytes: i64,
}

/// Counts the open dead letters, up to `limit`.
pub(crate) async fn count_open(db: &mut PgConnection, limit: i64) -> sqlx::Result<OpenLetters> {
    sqlx::query_as(
        "select count(*), coalesce(sum(octet_length(payload)), 0)::bigint as bytes
         from (select payload from dead_letters where replayed_at is null limit $1) letters",
    )
    .bind(limit)
    .fetch_one(db)
    .await
}

/// A dead letter as an operator reads it.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct DeadLetter {
    pub id: Uuid,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub created_at: DateTime<Utc>,
    pub error: String,
    pub key: Option<String>,
    pub payload: Option<String>,
    /// The size of the whole payload, if only its beginning is stored.
    pub payload_bytes: Option<i64>,
    pub payload_sha256: Option<String>,
}

/// Lists the newest open dead letters.
pub(crate) async fn list(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<DeadLetter>> {
    sqlx::query_as(
        r#"select id, topic, partition, "offset", created_at, error, encode(key, 'escape') as key,
               encode(payload, 'escape') as payload, payload_bytes,
               encode(payload_sha256, 'hex') as payload_sha256
           from dead_letters where replayed_at is null order by created_at desc, id limit $1"#,
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Returns those of the ids that are not ids of open dead letters.
pub(crate) async fn find_unknown(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from unnest($1::uuid[]) as requested(id)
         where not exists (select from dead_letters d where d.id = requested.id and d.replayed_at is null)",
    )
    .bind(ids)
    .fetch_all(db)
    .await
}

/// Returns the open dead letters of which only the beginning is stored: those with these ids or, without
/// ids, any.
pub(crate) async fn find_cut(db: impl PgExecutor<'_>, ids: &[Uuid], limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from dead_letters
         where replayed_at is null and payload_bytes is not null
           and (id = any($1) or cardinality($1) = 0)
         order by created_at, id limit $2",
    )
    .bind(ids)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// A dead letter as it is sent again.
#[derive(sqlx::FromRow)]
pub(crate) struct ReplayableLetter {
    pub id: Uuid,
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub headers: Json<BTreeMap<String, String>>,
    pub payload: Option<Vec<u8>>,
}

/// Returns PostgreSQL's clock.
pub(crate) async fn find_clock(db: impl PgExecutor<'_>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(db).await
}

/// Finds the oldest open dead letters of before `until` that are stored whole: those with these ids or,
/// without ids, any.
pub(crate) async fn find_replayable(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<ReplayableLetter>> {
    sqlx::query_as(
        "select id, topic, key, headers, payload from dead_letters
         where replayed_at is null and payload_bytes is null and created_at <= $2
           and (id = any($1) or cardinality($1) = 0)
         order by created_at, id limit $3",
    )
    .bind(ids)
    .bind(until)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Closes dead letters that were sent again.
pub(crate) async fn close_replayed(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<()> {
    let query = sqlx::query("update dead_letters set replayed_at = now() where id = any($1)");
    query.bind(ids).execute(db).await.map(drop)
}

/// Closes dead letters that are not to be sent again, which have a reason then, and those sent again none.
pub(crate) async fn discard(db: impl PgExecutor<'_>, ids: &[Uuid], reason: &str) -> sqlx::Result<()> {
    let query =
        sqlx::query("update dead_letters set replayed_at = now(), discard_reason = $2 where id = any($1)");
    query.bind(ids).bind(reason).execute(db).await.map(drop)
}
