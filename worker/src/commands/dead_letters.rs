//! Dead letters for operators: rejected records are listed with their reason, and sent again once it is gone.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use contract::events::{Record, Topic};
use platform::db;
use platform::kafka::{KafkaConfig, Producer};
use sqlx::PgPool;
use uuid::Uuid;

use crate::cli::{DiscardArgs, ListArgs, ReplayArgs};
use crate::store::dead_letters::{self, DeadLetter, ReplayableLetter};

/// How many dead letters are sent before they are marked.
const BATCH: i64 = 500;
/// Dead letters that are not stored whole are counted up to this number.
const MAX_CUT: i64 = 10_000;

/// Prints the latest open dead letters, newest first.
pub async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let pool = db::pool_of_command(&args.settings.database, "orchestration-worker").await?;
    let letters = dead_letters::list(&pool, args.limit).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&letters)?);
        return Ok(());
    }
    if letters.is_empty() {
        eprintln!("there are no dead letters");
    }
    for DeadLetter { id, topic, partition, offset, created_at, error, payload_bytes, .. } in letters {
        let cut = payload_bytes.map(|bytes| format!("  (only the beginning of {bytes} bytes is stored)"));
        let (at, cut) = (created_at.format("%F %T"), cut.unwrap_or_default());
        println!("{id}  {at}  {topic}/{partition}@{offset}  {error}{cut}");
    }
    Ok(())
}

/// Sends open dead letters to their topics again and prints how many. Those that are not stored whole are
/// left out. After an error some may be sent twice, which is harmless.
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let pool = db::pool_of_command(&args.settings.database, "orchestration-worker").await?;
    let producer = Producer::new(&args.settings.kafka)?;
    check_are_open(&pool, &args.ids).await?;
    let cut = dead_letters::find_cut(&pool, &args.ids, MAX_CUT).await?;
    if let Some(first) = cut.first().filter(|_| !args.ids.is_empty()) {
        bail!(
            "{first} was stored without all of its payload, because it was too large; ask its sender to \
             send it again, or discard it"
        );
    }
    // Those that become dead letters again in the meantime are not sent again.
    let until = dead_letters::find_clock(&pool).await?;
    let mut count = 0;
    loop {
        let sent = replay_batch(&pool, &producer, args, until).await?;
        if sent == 0 {
            break;
        }
        count += sent;
    }
    println!("{count} sent again; those that still make no sense come back as new dead letters");
    if !cut.is_empty() {
        println!("{} not sent, because only the beginning of their payload is stored", cut.len());
    }
    Ok(())
}

/// Closes dead letters without sending them, with the reason, and prints how many.
pub async fn discard(args: &DiscardArgs) -> anyhow::Result<()> {
    let pool = db::pool_of_command(&args.settings.database, "orchestration-worker").await?;
    check_are_open(&pool, &args.ids).await?;
    dead_letters::discard(&pool, &args.ids, &args.reason).await?;
    println!("{} discarded", args.ids.len());
    Ok(())
}

async fn check_are_open(pool: &PgPool, ids: &[Uuid]) -> anyhow::Result<()> {
    if let Some(first) = dead_letters::find_unknown(pool, ids).await?.first() {
        bail!("{first} is no dead letter that waits; `dead-letters list` shows those that do");
    }
    Ok(())
}

/// Sends a batch and marks those that Kafka took; returns how many it took.
async fn replay_batch(
    pool: &PgPool,
    producer: &Producer,
    args: &ReplayArgs,
    until: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let kafka = &args.settings.kafka;
    let letters = dead_letters::find_replayable(pool, &args.ids, until, BATCH).await?;
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let records =
        letters.into_iter().map(|letter| record(letter, kafka)).collect::<anyhow::Result<Vec<_>>>()?;
    let oversized = producer.send(&records).await?.oversized;
    let sent = ids.into_iter().enumerate().filter(|(index, _)| !oversized.contains(index));
    let sent: Vec<Uuid> = sent.map(|(_, id)| id).collect();
    dead_letters::close_replayed(pool, &sent).await?;
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
