//! `dead_letters`: records that could not be applied, with the reason.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::records::ConsumedRecord;

/// Stores a record as a dead letter, unless it is stored already.
pub(crate) async fn insert(db: &mut PgConnection, record: &ConsumedRecord, error: &str) -> sqlx::Result<()> {
    sqlx::query(
        r#"insert into dead_letters (id, topic, partition, "offset", key, headers, payload, error)
           values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (topic, partition, "offset") do nothing"#,
    )
    .bind(Uuid::now_v7())
    .bind(&record.topic_name)
    .bind(record.partition)
    .bind(record.offset)
    .bind(&record.key)
    .bind(Json(&record.headers))
    .bind(&record.payload)
    .bind(error)
    .execute(db)
    .await?;
    Ok(())
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
}

/// Lists the newest open dead letters.
pub(crate) async fn list(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<DeadLetter>> {
    sqlx::query_as(
        r#"select id, topic, partition, "offset", created_at, error, encode(key, 'escape') as key,
               encode(payload, 'escape') as payload
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

/// A dead letter as it is sent again.
#[derive(sqlx::FromRow)]
pub(crate) struct ReplayableLetter {
    pub id: Uuid,
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub headers: Json<BTreeMap<String, String>>,
    pub payload: Option<Vec<u8>>,
}

/// Finds the oldest open dead letters: those with these ids or, without ids, any.
pub(crate) async fn find_open(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<ReplayableLetter>> {
    sqlx::query_as(
        "select id, topic, key, headers, payload from dead_letters
         where replayed_at is null and (id = any($1) or cardinality($1) = 0)
         order by created_at, id limit $2",
    )
    .bind(ids)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Marks dead letters as sent again.
pub(crate) async fn mark_replayed(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query("update dead_letters set replayed_at = now() where id = any($1)")
        .bind(ids)
        .execute(db)
        .await?;
    Ok(())
}
