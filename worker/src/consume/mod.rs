//! The one consumer loop: batch → apply → commit, on a thread of its own. How far it came stands in PostgreSQL, in the
//! same transaction as what was applied; Kafka's group offsets are for lag dashboards. What a record means is for
//! the function that applies it.

mod assigned;
mod batch;
mod told;

use std::time::{Duration, Instant};

use assigned::Assigned;
pub use batch::{Apply, Dead, Message, is_about_data};
use batch::{ApplyError, apply_batch};
use contract::events::Topic;
use platform::kafka::KafkaConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use told::Told;

const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
const BATCH_WAIT: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What to consume, and what to do with it.
#[derive(Clone)]
pub struct Consumption {
    pub kafka: KafkaConfig,
    pub pool: PgPool,
    pub group: &'static str,
    pub topics: &'static [Topic],
    pub apply: Apply,
}

/// Why one consumer ended and the next one begins.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("another worker has moved {topic}/{partition} on")]
    Fenced { topic: String, partition: i32 },
    #[error("the assignment could not be taken up")]
    Unassigned,
    #[error("partitions were assigned while PostgreSQL took nothing")]
    Reassigned,
}

/// Consumes until stopped, beginning anew after every interruption.
pub fn run(consumption: &Consumption, runtime: &Handle, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(interrupted) = consume(consumption, runtime, stop) {
            tracing::warn!(group = consumption.group, reason = %interrupted, "the consumer begins anew");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn consume(consumption: &Consumption, runtime: &Handle, stop: &CancellationToken) -> Result<(), Interrupted> {
    let consumer = connect(consumption, runtime, stop)?;
    let mut told = Told::default();
    while !stop.is_cancelled() {
        let messages = collect(&consumer, consumption)?;
        if consumer.context().has_failed() {
            return Err(Interrupted::Unassigned);
        }
        if !messages.is_empty() {
            settle(&consumer, consumption, runtime, stop, &messages)?;
            told.note(consumption.group, &messages);
        }
    }
    Ok(())
}

fn connect(
    consumption: &Consumption,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<BaseConsumer<Assigned>, KafkaError> {
    let kafka = &consumption.kafka;
    let context = Assigned::new(consumption.pool.clone(), runtime.clone(), stop.clone());
    let consumer: BaseConsumer<Assigned> = kafka
        .client()
        .set("group.id", kafka.group(consumption.group))
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1000")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "16384")
        .create_with_context(context)?;
    let topics: Vec<String> = consumption.topics.iter().map(|topic| kafka.topic(*topic)).collect();
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(consumer)
}

/// Takes what has arrived, up to a batch: it waits for the first record, hardly for more.
fn collect(
    consumer: &BaseConsumer<Assigned>,
    consumption: &Consumption,
) -> Result<Vec<Message>, Interrupted> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut wait = Duration::from_millis(200);
    let began = Instant::now();
    while messages.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
        let message = match consumer.poll(wait) {
            None => break,
            Some(Ok(message)) => Message::read(&message, &consumption.kafka, consumption.topics),
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(KafkaError::MessageConsumptionFatal(code).into());
            }
            Some(Err(error)) => {
                tracing::warn!(group = consumption.group, %error, "Kafka is not answering well");
                break;
            }
        };
        bytes += message.payload.as_ref().map_or(0, Vec::len);
        messages.push(message);
        wait = BATCH_WAIT.saturating_sub(began.elapsed()).min(BATCH_WAIT);
        if messages.len() == 1 {
            wait = BATCH_WAIT;
        }
    }
    Ok(messages)
}

/// Applies a batch, waiting as long as PostgreSQL is away; nothing is fetched meanwhile.
fn settle(
    consumer: &BaseConsumer<Assigned>,
    consumption: &Consumption,
    runtime: &Handle,
    stop: &CancellationToken,
    messages: &[Message],
) -> Result<(), Interrupted> {
    let mut pause = Duration::from_millis(100);
    loop {
        // A rebalance during the wait may have taken partitions away, or given them back further on.
        let mut positions = consumer.context().positions();
        let mine = batch::unread(messages, &positions);
        match runtime.block_on(apply_batch(consumption, &mut positions, mine)) {
            Ok(()) => {
                consumer.context().advance(&positions);
                return Ok(commit(consumer, &positions)?);
            }
            Err(ApplyError::Fenced { topic, partition }) => {
                return Err(Interrupted::Fenced { topic, partition });
            }
            Err(ApplyError::Database(error)) => {
                tracing::warn!(group = consumption.group, %error, "PostgreSQL did not take a batch; it is tried again");
                consumer.context().advance(&positions);
                if stop.is_cancelled() {
                    return Ok(());
                }
                wait_paused(consumer, pause)?;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Keeps the membership alive while nothing may be fetched. A record that comes all the same is of a partition that has
/// just been assigned, and would be lost between the batches.
fn wait_paused(consumer: &BaseConsumer<Assigned>, pause: Duration) -> Result<(), Interrupted> {
    consumer.pause(&consumer.assignment()?)?;
    let until = Instant::now() + pause;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(_)) => return Err(Interrupted::Reassigned),
            Some(Err(_)) => break,
        }
    }
    Ok(consumer.resume(&consumer.assignment()?)?)
}

fn commit(consumer: &BaseConsumer<Assigned>, positions: &batch::Positions) -> Result<(), KafkaError> {
    let mut offsets = TopicPartitionList::new();
    for ((topic, partition), next) in positions {
        offsets.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(*next))?;
    }
    consumer.commit(&offsets, CommitMode::Async)
}
