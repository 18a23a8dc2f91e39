//! The transactional outbox: events are inserted in the transaction that changes their entity, and relayed to
//! Kafka later.
//!
//! One relay at a time sends the records in order and deletes those that Kafka has acknowledged:
//! at-least-once delivery.

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::kafka::{Producer, SendError};
use crate::trace;
use contract::events::{Event, Record, Topic};

/// Inserts an event into the outbox, within the caller's transaction.
pub async fn enqueue<E: Event>(db: &mut PgConnection, event: &E) -> Result<(), sqlx::Error> {
    let record = Record::of(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let record = record.with_traceparent(trace::current());
    sqlx::query("insert into outbox (topic, key, headers, payload) values ($1, $2, $3, $4)")
        .bind(Json(record.topic))
        .bind(record.key)
        .bind(Json(record.headers))
        .bind(record.payload)
        .execute(db)
        .await?;
    Ok(())
}

/// Advisory lock of the relay: one at a time, so that the events of one sync keep their order ("outbox" in
/// ASCII).
const RELAY_LOCK: i64 = 0x6f75_7462_6f78;
const BATCH_SIZE: i64 = 500;
/// A batch ends with the record with which it has this many bytes.
const BATCH_BYTES: i64 = 4 << 20;

/// A batch of the outbox was not relayed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Kafka(#[from] SendError),
}

/// Sends the oldest records and deletes them; returns how many there were. Also zero while another relay is
/// running.
///
/// # Errors
/// When PostgreSQL or Kafka fails: the records stay in the outbox for the next call.
pub async fn relay(pool: &PgPool, producer: &Producer) -> Result<usize, RelayError> {
    let mut tx = pool.begin().await?;
    let rows: Vec<OutboxRow> = sqlx::query_as(
        "with lock as materialized (select pg_try_advisory_xact_lock($1) as acquired),
         oldest as (
             select id, topic, key, headers, payload,
                 sum(octet_length(payload)) over (order by id rows unbounded preceding)
                     - octet_length(payload) as bytes_before
             from lock, outbox where acquired order by id limit $2)
         select id, topic, key, headers, payload from oldest where bytes_before < $3 order by id",
    )
    .bind(RELAY_LOCK)
    .bind(BATCH_SIZE)
    .bind(BATCH_BYTES)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let records: Vec<Record> = rows.into_iter().map(OutboxRow::into_record).collect();
    producer.send(&records).await?;
    sqlx::query("delete from outbox where id = any($1)").bind(ids).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(records.len())
}

#[derive(sqlx::FromRow)]
struct OutboxRow {
    id: i64,
    topic: Json<Topic>,
    key: String,
    headers: Json<Vec<(String, String)>>,
    payload: Vec<u8>,
}

impl OutboxRow {
    fn into_record(self) -> Record {
        Record { topic: self.topic.0, key: self.key, headers: self.headers.0, payload: self.payload }
    }
}
