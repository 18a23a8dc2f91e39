//! The lag of the consumers behind the log, in records and in seconds: the end of each partition compared
//! with its offset in PostgreSQL, and the time of the first record after that offset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use contract::events::Topic;
use platform::kafka::KafkaConfig;
use platform::offsets::Offsets;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// How far the consumer of one topic is behind.
pub(super) struct TopicLag {
    pub(super) topic: Topic,
    pub(super) records: i64,
    pub(super) seconds: f64,
}

/// Reads the ends of the consumed topics and their first unapplied records.
pub(super) struct LagReader {
    consumer: Arc<BaseConsumer>,
    kafka: KafkaConfig,
}

impl LagReader {
    /// Opens a consumer without waiting for Kafka.
    ///
    /// # Errors
    /// When a setting is not one of librdkafka's.
    pub(super) fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let consumer = kafka
            .client()
            .set("group.id", kafka.group("lag"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.message.max.bytes", "16384")
            .set("queued.max.messages.kbytes", "1024")
            .create()?;
        Ok(Self { consumer: Arc::new(consumer), kafka: kafka.clone() })
    }

    /// Reads the lag of every consumed topic by these offsets. Fails when Kafka does not answer within some
    /// seconds.
    pub(super) async fn read(&self, projected: Offsets) -> anyhow::Result<Vec<TopicLag>> {
        let (consumer, kafka) = (self.consumer.clone(), self.kafka.clone());
        let read = move || {
            Topic::STATE
                .into_iter()
                .chain([Topic::SyncRequests])
                .map(|topic| read_topic(&consumer, topic, &kafka.topic(topic), &projected))
                .collect()
        };
        tokio::task::spawn_blocking(read).await?
    }
}

fn read_topic(
    consumer: &BaseConsumer,
    topic: Topic,
    name: &str,
    projected: &Offsets,
) -> anyhow::Result<TopicLag> {
    let mut unapplied = TopicPartitionList::new();
    let mut records = 0;
    for ((_, partition), next) in projected.iter().filter(|((topic, _), _)| topic == name) {
        let (low, high) = consumer.fetch_watermarks(name, *partition, KAFKA_TIMEOUT)?;
        let from = *next.max(&low);
        if high > from {
            records += high - from;
            unapplied.add_partition_offset(name, *partition, Offset::Offset(from))?;
        }
    }
    let seconds = if records > 0 { oldest_age(consumer, &unapplied)? } else { 0.0 };
    Ok(TopicLag { topic, records, seconds })
}

/// The age in seconds of the oldest record: the first one of a partition is its oldest.
fn oldest_age(consumer: &BaseConsumer, unapplied: &TopicPartitionList) -> anyhow::Result<f64> {
    consumer.assign(unapplied)?;
    let until = Instant::now() + KAFKA_TIMEOUT;
    let mut remaining = unapplied.count();
    let mut seen = Vec::new();
    let mut oldest = Utc::now().timestamp_millis();
    while remaining > 0 && Instant::now() < until {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        if !seen.contains(&message.partition()) {
            seen.push(message.partition());
            remaining -= 1;
            oldest = oldest.min(message.timestamp().to_millis().unwrap_or(oldest));
        }
    }
    consumer.unassign()?;
    Ok((Utc::now().timestamp_millis() - oldest) as f64 / 1e3)
}
