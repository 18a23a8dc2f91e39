//! The outbox: records that were decided in a PostgreSQL transaction and wait to be sent to Kafka.
//!
//! Whoever changes a sync writes its event here in the same transaction; one relay at a time sends them in order and
//! removes what Kafka has acknowledged. Sending twice is harmless, losing one is not possible.

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::kafka::{Producer, SendError};
use crate::trace;
use contract::events::{Event, Record, Topic};

/// Puts an event into the outbox, within the caller's transaction.
///
/// # Errors
/// When PostgreSQL is away.
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

/// One relay at a time, so that the events of one sync keep their order.
const RELAY_LOCK: i64 = 0x6f75_7462_6f78;
const BATCH: i64 = 500;

/// Why a batch of the outbox stayed where it was.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Kafka(#[from] SendError),
}

/// Sends the oldest waiting records and removes them; tells how many there were. Zero too while another relay works.
///
/// # Errors
/// When PostgreSQL or Kafka is away; the records stay and are sent next time.
pub async fn relay(pool: &PgPool, producer: &Producer) -> Result<usize, RelayError> {
    let mut tx = pool.begin().await?;
    let waiting: Vec<Waiting> = sqlx::query_as(
        "with turn as materialized (select pg_try_advisory_xact_lock($1) as mine)
         select id, topic, key, headers, payload from turn, outbox where mine order by id limit $2",
    )
    .bind(RELAY_LOCK)
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = waiting.iter().map(|waiting| waiting.id).collect();
    let records: Vec<Record> = waiting.into_iter().map(Waiting::into_record).collect();
    producer.send(&records).await?;
    sqlx::query("delete from outbox where id = any($1)").bind(ids).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(records.len())
}

#[derive(sqlx::FromRow)]
struct Waiting {
    id: i64,
    topic: Json<Topic>,
    key: String,
    headers: Json<Vec<(String, String)>>,
    payload: Vec<u8>,
}

impl Waiting {
    fn into_record(self) -> Record {
        Record { topic: self.topic.0, key: self.key, headers: self.headers.0, payload: self.payload }
    }
}
