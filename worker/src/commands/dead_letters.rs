//! Dead letters for operators: rejected records are listed with their reason, and sent again once it is gone.

use anyhow::{Context, bail};
use contract::events::{Record, Topic};
use platform::db;
use platform::kafka::{KafkaConfig, Producer};
use sqlx::PgPool;
use uuid::Uuid;

use crate::cli::{ListArgs, ReplayArgs};
use crate::store::dead_letters::{self, DeadLetter, ReplayableLetter};

/// How many dead letters are sent before they are marked.
const BATCH: i64 = 500;

/// Prints the latest open dead letters, newest first.
pub async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let pool = db::pool(&args.settings.database, "orchestration-worker")?;
    let letters = dead_letters::list(&pool, args.limit).await?;
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

/// Sends open dead letters to their topics again and prints how many. After an error some may be sent twice,
/// which is harmless.
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let pool = db::pool(&args.settings.database, "orchestration-worker")?;
    let producer = Producer::new(&args.settings.kafka)?;
    if let Some(first) = dead_letters::find_unknown(&pool, &args.ids).await?.first() {
        bail!("{first} is no dead letter that waits; `dead-letters list` shows those that do");
    }
    let mut count = 0;
    loop {
        let sent = replay_batch(&pool, &producer, &args.settings.kafka, &args.ids).await?;
        if sent == 0 {
            break;
        }
        count += sent;
    }
    println!("{count} sent again; those that still make no sense come back as new dead letters");
    Ok(())
}

/// Sends a batch and marks those that Kafka took; returns how many it took.
async fn replay_batch(
    pool: &PgPool,
    producer: &Producer,
    kafka: &KafkaConfig,
    ids: &[Uuid],
) -> anyhow::Result<usize> {
    let letters = dead_letters::find_open(pool, ids, BATCH).await?;
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let records =
        letters.into_iter().map(|letter| record(letter, kafka)).collect::<anyhow::Result<Vec<_>>>()?;
    let oversized = producer.send(&records).await?.oversized;
    let sent = ids.into_iter().enumerate().filter(|(index, _)| !oversized.contains(index));
    let sent: Vec<Uuid> = sent.map(|(_, id)| id).collect();
    dead_letters::mark_replayed(pool, &sent).await?;
    Ok(sent.len())
}

fn record(letter: ReplayableLetter, kafka: &KafkaConfig) -> anyhow::Result<Record> {
    let topic = Topic::ALL.into_iter().find(|topic| kafka.topic(*topic) == letter.topic);
    Ok(Record {
        topic: topic.with_context(|| {
            format!("{} is not a topic of this installation; see --kafka-prefix", letter.topic)
        })?,
        key: String::from_utf8_lossy(&letter.key.unwrap_or_default()).into_owned(),
        headers: letter.headers.0.into_iter().collect(),
        payload: letter.payload.unwrap_or_default(),
    })
}
