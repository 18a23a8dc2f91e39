//! How far the read model is behind the log, in records and in seconds: the end of each partition beside the place that
//! PostgreSQL says is reached, and the time of the first record after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use contract::events::Topic;
use platform::kafka::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(5);

/// A partition, and the offset that the read model will take next there.
pub type Reached = (String, i32, i64);

/// How far the read model is behind one topic.
pub struct Behind {
    topic: Topic,
    records: i64,
    seconds: f64,
}

impl Behind {
    pub fn tell(&self) {
        let label = [("topic", self.topic.to_string())];
        metrics::gauge!("orchestration_projector_lag_records", &label).set(self.records as f64);
        metrics::gauge!("orchestration_projector_lag_seconds", &label).set(self.seconds);
    }
}

/// The state topics, looked at.
pub struct Log {
    consumer: Arc<BaseConsumer>,
    kafka: KafkaConfig,
}

impl Log {
    /// Opens it without waiting for Kafka.
    ///
    /// # Errors
    /// When a setting is not one of librdkafka's.
    pub fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
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

    /// # Errors
    /// When Kafka does not answer within some seconds.
    pub async fn behind(&self, reached: Vec<Reached>) -> anyhow::Result<Vec<Behind>> {
        let (consumer, kafka) = (self.consumer.clone(), self.kafka.clone());
        let look = move || {
            Topic::STATE
                .iter()
                .map(|topic| behind(&consumer, *topic, &kafka.topic(*topic), &reached))
                .collect()
        };
        tokio::task::spawn_blocking(look).await?
    }
}

fn behind(consumer: &BaseConsumer, topic: Topic, name: &str, reached: &[Reached]) -> anyhow::Result<Behind> {
    let mut untaken = TopicPartitionList::new();
    let mut records = 0;
    for (_, partition, next) in reached.iter().filter(|(topic, ..)| topic == name) {
        let (low, high) = consumer.fetch_watermarks(name, *partition, PATIENCE)?;
        let from = *next.max(&low);
        if high > from {
            records += high - from;
            untaken.add_partition_offset(name, *partition, Offset::Offset(from))?;
        }
    }
    let seconds = if records > 0 { oldest(consumer, &untaken)? } else { 0.0 };
    Ok(Behind { topic, records, seconds })
}

/// The age of the oldest record: what is first in each partition, and no older one is behind it.
fn oldest(consumer: &BaseConsumer, untaken: &TopicPartitionList) -> anyhow::Result<f64> {
    consumer.assign(untaken)?;
    let until = Instant::now() + PATIENCE;
    let mut waiting = untaken.count();
    let mut seen = Vec::new();
    let mut oldest = Utc::now().timestamp_millis();
    while waiting > 0 && Instant::now() < until {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        if !seen.contains(&message.partition()) {
            seen.push(message.partition());
            waiting -= 1;
            oldest = oldest.min(message.timestamp().to_millis().unwrap_or(oldest));
        }
    }
    consumer.unassign()?;
    Ok((Utc::now().timestamp_millis() - oldest) as f64 / 1e3)
}
