//! The consumer loop: poll, apply, commit, on a thread of its own. Offsets are stored in PostgreSQL, in the
//! transaction that applies the records; Kafka's group offsets only feed lag dashboards. The meaning of a
//! record is left to the function that applies it. `app.rs` starts it.

mod batch;
pub(crate) mod bisect;
mod dead_letters;
mod ends;
pub(crate) mod log_sample;
mod rebalance;
mod start;
mod trace_log;

use std::time::{Duration, Instant};

use contract::events::Topic;
use platform::health::Heartbeat;
use platform::kafka::KafkaConfig;
use platform::offsets::Offsets;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::records::{ApplyRecords, ConsumedRecord};
use batch::{ApplyError, apply_batch};
pub(crate) use ends::find_ends;
use log_sample::LogSample;
use rebalance::RebalanceContext;
use trace_log::TraceLog;

const MAX_BATCH_RECORDS: usize = 1_000;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// How long a batch waits for its first record, and for more once it has one.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
const BATCH_TIMEOUT: Duration = Duration::from_millis(20);
const MIN_RETRY_BACKOFF: Duration = Duration::from_millis(100);
const MAX_RETRY_BACKOFF: Duration = Duration::from_secs(5);

/// The topics to consume, and the function that applies their records.
#[derive(Clone)]
pub struct ConsumerConfig {
    pub kafka: KafkaConfig,
    pub pool: PgPool,
    pub group: &'static str,
    pub topics: &'static [Topic],
    /// `projection::apply` or `queue::requests::apply`, chosen in `app.rs`.
    pub apply: ApplyRecords,
    pub heartbeat: Heartbeat,
}

/// Why a consumer is closed and opened again.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("another worker has moved the offset of {topic}/{partition}")]
    Fenced { topic: String, partition: i32 },
    #[error("the assigned partitions could not be started")]
    Unassigned,
    #[error("the log does not contain the next offset of a partition any more")]
    OffsetLost,
    #[error("partitions were assigned while a batch waited for PostgreSQL")]
    Reassigned,
}

/// Consumes until stopped. After an interruption it opens a new consumer.
pub fn run(config: &ConsumerConfig, runtime: &Handle, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(interruption) = consume(config, runtime, stop) {
            tracing::warn!(group = config.group, reason = %interruption, "consumer restarts");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn consume(config: &ConsumerConfig, runtime: &Handle, stop: &CancellationToken) -> Result<(), Interruption> {
    let consumer = connect(config, runtime, stop)?;
    let (mut trace_log, mut errors) = (TraceLog::default(), LogSample::new());
    while !stop.is_cancelled() {
        config.heartbeat.record();
        let records = poll_batch(&consumer, config, &mut errors)?;
        if consumer.context().has_failed() {
            return Err(Interruption::Unassigned);
        }
        if !records.is_empty() {
            apply_with_retry(&consumer, config, runtime, stop, &records)?;
            trace_log.log_batch(config.group, &records);
        }
    }
    Ok(())
}

fn connect(
    config: &ConsumerConfig,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<BaseConsumer<RebalanceContext>, KafkaError> {
    let kafka = &config.kafka;
    let context = RebalanceContext::new(config, runtime.clone(), stop.clone());
    let consumer: BaseConsumer<RebalanceContext> = kafka
        .client()
        .set("group.id", kafka.group(config.group))
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1000")
        .set("enable.auto.commit", "false")
        // An offset that is not in the log any more is an error, and the partition is assigned again.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", "4096")
        // Of a partition at a time, compressed: a few kilobytes may become megabytes.
        .set("fetch.message.max.bytes", "65536")
        .create_with_context(context)?;
    let topics: Vec<String> = config.topics.iter().map(|topic| kafka.topic(*topic)).collect();
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(consumer)
}

/// Collects the records that have arrived, up to the limits of a batch. Errors repeat while a broker is away,
/// so only a sample of them is logged.
fn poll_batch(
    consumer: &BaseConsumer<RebalanceContext>,
    config: &ConsumerConfig,
    errors: &mut LogSample,
) -> Result<Vec<ConsumedRecord>, Interruption> {
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut timeout = POLL_TIMEOUT;
    let started = Instant::now();
    while records.len() < MAX_BATCH_RECORDS && bytes < MAX_BATCH_BYTES {
        let record = match consumer.poll(timeout) {
            None => break,
            Some(Ok(message)) => ConsumedRecord::read(&message, &config.kafka, config.topics),
            Some(Err(error)) => {
                check_interruption(&error)?;
                if let Some(omitted) = errors.admit(Instant::now()) {
                    tracing::warn!(group = config.group, %error, omitted, "Kafka poll failed");
                }
                break;
            }
        };
        bytes += record.size();
        records.push(record);
        timeout =
            if records.len() == 1 { BATCH_TIMEOUT } else { BATCH_TIMEOUT.saturating_sub(started.elapsed()) };
    }
    Ok(records)
}

/// Returns the errors after which the consumer must be opened again. It recovers from all others by itself.
fn check_interruption(error: &KafkaError) -> Result<(), Interruption> {
    match error {
        KafkaError::MessageConsumptionFatal(_) => Err(error.clone().into()),
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation,
        ) => Err(Interruption::OffsetLost),
        _ => Ok(()),
    }
}

/// Applies a batch, with retries as long as PostgreSQL is down. Nothing is fetched in the meantime.
fn apply_with_retry(
    consumer: &BaseConsumer<RebalanceContext>,
    config: &ConsumerConfig,
    runtime: &Handle,
    stop: &CancellationToken,
    records: &[ConsumedRecord],
) -> Result<(), Interruption> {
    let mut backoff = MIN_RETRY_BACKOFF;
    loop {
        config.heartbeat.record();
        // A rebalance during the back-off may have revoked partitions, or assigned them again with later
        // offsets.
        let mut offsets = consumer.context().offsets();
        let unapplied = batch::unapplied(records, &offsets);
        match runtime.block_on(apply_batch(config, &mut offsets, &unapplied)) {
            Ok(()) => {
                consumer.context().advance(&offsets);
                return Ok(commit(consumer, &offsets)?);
            }
            Err(ApplyError::Fenced { topic, partition }) => {
                return Err(Interruption::Fenced { topic, partition });
            }
            Err(ApplyError::Database(error)) => {
                tracing::warn!(group = config.group, %error, "batch not applied; retrying");
                consumer.context().advance(&offsets);
                if stop.is_cancelled() {
                    return Ok(());
                }
                wait_paused(consumer, backoff)?;
                backoff = (backoff * 2).min(MAX_RETRY_BACKOFF);
            }
        }
    }
}

/// Keeps the group membership alive while nothing may be fetched. A record that arrives nevertheless is of a
/// partition that has just been assigned; it would be lost between the batches.
fn wait_paused(consumer: &BaseConsumer<RebalanceContext>, duration: Duration) -> Result<(), Interruption> {
    consumer.pause(&consumer.assignment()?)?;
    let until = Instant::now() + duration;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(_)) => return Err(Interruption::Reassigned),
            Some(Err(error)) => {
                check_interruption(&error)?;
                break;
            }
        }
    }
    Ok(consumer.resume(&consumer.assignment()?)?)
}

fn commit(consumer: &BaseConsumer<RebalanceContext>, offsets: &Offsets) -> Result<(), KafkaError> {
    let mut partitions = TopicPartitionList::new();
    for ((topic, partition), next) in offsets {
        partitions.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
    }
    consumer.commit(&partitions, CommitMode::Async)
}
