//! One batch and its transaction: what is applied, what is buried, and how far each partition has come, together.

use std::collections::BTreeMap;

use contract::events::Topic;
use contract::trace::TraceContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::kafka::KafkaConfig;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Consumption;

/// Topic and partition, and the next offset to read there.
pub type Positions = BTreeMap<(String, i32), i64>;

/// Applies records within a transaction and tells which of them can never be applied. A database error means that
/// nothing was.
pub type Apply =
    for<'a> fn(&'a mut PgConnection, &'a [Message]) -> BoxFuture<'a, Result<Vec<Dead>, sqlx::Error>>;

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: Topic,
    /// The topic's name on this cluster.
    pub topic_name: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
    pub payload: Option<Vec<u8>>,
}

/// A record that can never be applied, by its place in the batch, and why.
#[derive(Debug)]
pub struct Dead {
    pub message: usize,
    pub error: String,
}

/// Why a batch was not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// Another consumer has moved the partition on.
    Fenced { topic: String, partition: i32 },
    /// To be tried again.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Message {
    /// Copies a record of one of the topics out of the client's memory.
    pub fn read(message: &BorrowedMessage<'_>, kafka: &KafkaConfig, topics: &[Topic]) -> Self {
        let name = message.topic();
        let known = topics.iter().find(|topic| kafka.topic(**topic) == name);
        let headers = message.headers().map(|headers| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            headers
                .iter()
                .map(move |header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
        });
        Self {
            topic: known.copied().unwrap_or(topics[0]),
            topic_name: name.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.into_iter().flatten().collect(),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }

    /// What led to it, as far as its sender told.
    pub fn trace(&self) -> Option<TraceContext> {
        self.headers.get(contract::trace::TRACEPARENT)?.parse().ok()
    }
}

/// The part of a batch that is ours to apply and was not applied yet.
pub fn unread(messages: &[Message], positions: &Positions) -> Vec<Message> {
    let is_unread = |message: &&Message| {
        let place = (message.topic_name.clone(), message.partition);
        positions.get(&place).is_some_and(|next| message.offset >= *next)
    };
    messages.iter().filter(is_unread).cloned().collect()
}

/// Applies all of a batch, moving `positions` along. What PostgreSQL will not take for its content is searched by
/// halves and buried alone.
pub fn apply_batch<'a>(
    consumption: &'a Consumption,
    positions: &'a mut Positions,
    messages: Vec<Message>,
) -> BoxFuture<'a, Result<(), ApplyError>> {
    async move {
        if messages.is_empty() {
            return Ok(());
        }
        let error = match transact(consumption, positions, &messages, None).await {
            Err(ApplyError::Database(error)) if is_about_data(&error) => error,
            applied => return applied,
        };
        if let [_] = messages.as_slice() {
            return transact(consumption, positions, &messages, Some(error.to_string())).await;
        }
        let mut first = messages;
        let second = first.split_off(first.len() / 2);
        apply_batch(consumption, positions, first).await?;
        apply_batch(consumption, positions, second).await
    }
    .boxed()
}

async fn transact(
    consumption: &Consumption,
    positions: &mut Positions,
    messages: &[Message],
    poison: Option<String>,
) -> Result<(), ApplyError> {
    let mut tx = consumption.pool.begin().await?;
    let dead = match poison {
        Some(error) => vec![Dead { message: 0, error }],
        None => (consumption.apply)(&mut tx, messages).await?,
    };
    for dead in &dead {
        bury(&mut tx, &messages[dead.message], &dead.error).await?;
    }
    let moved = advance(&mut tx, positions, messages).await?;
    tx.commit().await?;
    positions.extend(moved);
    metrics::counter!("orchestration_records_applied_total", "group" => consumption.group)
        .increment((messages.len() - dead.len()) as u64);
    metrics::counter!("orchestration_dead_letters_total", "group" => consumption.group)
        .increment(dead.len() as u64);
    Ok(())
}

/// Moves each partition's offset, if it still stands where we left it.
async fn advance(
    db: &mut PgConnection,
    positions: &Positions,
    messages: &[Message],
) -> Result<Positions, ApplyError> {
    let mut moved = Positions::new();
    for message in messages {
        moved.insert((message.topic_name.clone(), message.partition), message.offset + 1);
    }
    for ((topic, partition), next) in &moved {
        let hit = sqlx::query(
            "update projection_offsets set next_offset = $3
             where topic = $1 and partition = $2 and next_offset = $4",
        )
        .bind(topic)
        .bind(partition)
        .bind(next)
        .bind(positions.get(&(topic.clone(), *partition)))
        .execute(&mut *db)
        .await?;
        if hit.rows_affected() != 1 {
            return Err(ApplyError::Fenced { topic: topic.clone(), partition: *partition });
        }
    }
    Ok(moved)
}

async fn bury(db: &mut PgConnection, message: &Message, error: &str) -> Result<(), sqlx::Error> {
    let (topic, partition, offset) = (&message.topic_name, message.partition, message.offset);
    let trace_id = message.trace().map(TraceContext::trace_id);
    tracing::error!(
        topic,
        partition,
        offset,
        error,
        trace_id,
        "a record makes no sense and is kept as a dead letter"
    );
    sqlx::query(
        r#"insert into dead_letters (id, topic, partition, "offset", key, headers, payload, error)
           values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (topic, partition, "offset") do nothing"#,
    )
    .bind(Uuid::now_v7())
    .bind(topic)
    .bind(partition)
    .bind(offset)
    .bind(&message.key)
    .bind(Json(&message.headers))
    .bind(&message.payload)
    .bind(error)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether the fault lies in the record, so that trying again cannot help: data exceptions, broken constraints, values
/// that are too long for an index, and those that cannot be cast.
pub fn is_about_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}
