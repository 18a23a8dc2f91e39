//! Dead letters for operators: records that made no sense are listed with the reason, and sent again once it is gone.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use contract::events::{Record, Topic};
use platform::db;
use platform::kafka::{KafkaConfig, Producer};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::config::{ListArgs, ReplayArgs};

#[derive(Serialize, sqlx::FromRow)]
struct DeadLetter {
    id: Uuid,
    topic: String,
    partition: i32,
    offset: i64,
    created_at: DateTime<Utc>,
    error: String,
    key: Option<String>,
    payload: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Stored {
    id: Uuid,
    topic: String,
    key: Option<Vec<u8>>,
    headers: Json<BTreeMap<String, String>>,
    payload: Option<Vec<u8>>,
}

/// Prints the latest dead letters, newest first.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let pool = db::pool(&args.settings.database, "orchestration-worker")?;
    let letters: Vec<DeadLetter> = sqlx::query_as(
        r#"select id, topic, partition, "offset", created_at, error, encode(key, 'escape') as key,
               encode(payload, 'escape') as payload
           from dead_letters where replayed_at is null order by created_at desc, id limit $1"#,
    )
    .bind(args.most)
    .fetch_all(&pool)
    .await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&letters)?);
        return Ok(());
    }
    if letters.is_empty() {
        eprintln!("there are no dead letters");
    }
    for DeadLetter { id, topic, partition, offset, created_at, error, .. } in letters {
        println!("{id}  {}  {topic}/{partition}@{offset}  {error}", created_at.format("%F %T"));
    }
    Ok(())
}

/// Sends dead letters to their topics again and says how many.
///
/// # Errors
/// When PostgreSQL or Kafka is away; what was sent may be sent twice then, which is harmless.
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let pool = db::pool(&args.settings.database, "orchestration-worker")?;
    let producer = Producer::new(&args.settings.kafka)?;
    check_ids(&pool, &args.ids).await?;
    let mut count = 0;
    loop {
        let sent = replay_some(&pool, &producer, &args.settings.kafka, &args.ids).await?;
        if sent == 0 {
            break;
        }
        count += sent;
    }
    println!("{count} sent again; those that still make no sense come back as new dead letters");
    Ok(())
}

/// A letter that is named must be there to be sent.
async fn check_ids(pool: &PgPool, ids: &[Uuid]) -> anyhow::Result<()> {
    let missing: Vec<Uuid> = sqlx::query_scalar(
        "select id from unnest($1::uuid[]) as asked(id)
         where not exists (select from dead_letters d where d.id = asked.id and d.replayed_at is null)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    match missing.first() {
        None => Ok(()),
        Some(first) => bail!("{first} is no dead letter that waits; `dead-letters list` shows those that do"),
    }
}

async fn replay_some(
    pool: &PgPool,
    producer: &Producer,
    kafka: &KafkaConfig,
    only: &[Uuid],
) -> anyhow::Result<usize> {
    let stored: Vec<Stored> = sqlx::query_as(
        "select id, topic, key, headers, payload from dead_letters
         where replayed_at is null and (id = any($1) or cardinality($1) = 0) order by created_at, id limit 500",
    )
    .bind(only)
    .fetch_all(pool)
    .await?;
    let ids: Vec<Uuid> = stored.iter().map(|letter| letter.id).collect();
    let records =
        stored.into_iter().map(|letter| letter.into_record(kafka)).collect::<Result<Vec<_>, _>>()?;
    let left_out = producer.send(&records).await?.oversized;
    let ids: Vec<Uuid> = ids
        .into_iter()
        .enumerate()
        .filter(|(place, _)| !left_out.contains(place))
        .map(|(_, id)| id)
        .collect();
    sqlx::query("update dead_letters set replayed_at = now() where id = any($1)")
        .bind(&ids)
        .execute(pool)
        .await?;
    Ok(ids.len())
}

impl Stored {
    fn into_record(self, kafka: &KafkaConfig) -> anyhow::Result<Record> {
        let topic = Topic::ALL.into_iter().find(|topic| kafka.topic(*topic) == self.topic);
        Ok(Record {
            topic: topic.with_context(|| {
                format!("{} is not a topic of this installation; see --kafka-prefix", self.topic)
            })?,
            key: String::from_utf8_lossy(&self.key.unwrap_or_default()).into_owned(),
            headers: self.headers.0.into_iter().collect(),
            payload: self.payload.unwrap_or_default(),
        })
    }
}
