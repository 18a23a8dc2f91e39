//! The producer: sends a batch in order and answers when Kafka has all of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::KafkaConfig;
use crate::events::{Record, Topic};

/// Where a batch ended: topic and partition, and the offset after the last record.
pub type Positions = BTreeMap<(String, i32), i64>;

/// Sends records to Kafka, each acknowledged by all in-sync replicas.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
    config: KafkaConfig,
}

/// Why a batch did not go out. Some of it may have: send the whole batch again.
#[derive(Debug, thiserror::Error)]
#[error(
    "Kafka did not acknowledge the events ({0}); check that it is up and that this service may write to its topics"
)]
pub struct SendError(String);

impl Producer {
    /// Opens a producer without waiting for Kafka.
    ///
    /// # Errors
    /// When a setting is not one of librdkafka's.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let inner = config
            .client()
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("compression.type", "lz4")
            // The partitioner of the Java client, so that every language finds a key on the same partition.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "30000")
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "32768")
            .create()?;
        Topic::ALL.map(published).iter().for_each(|counter| counter.increment(0));
        Ok(Self { inner, config: config.clone() })
    }

    /// Sends all records in order, awaiting the acknowledgements together.
    ///
    /// # Errors
    /// When any record was not acknowledged within 30 seconds.
    pub async fn send(&self, records: &[Record]) -> Result<Positions, SendError> {
        let mut waiting = VecDeque::new();
        let mut positions = Positions::new();
        for record in records {
            let future = loop {
                match self.enqueue(record) {
                    Ok(future) => break future,
                    Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                        settle(waiting.pop_front(), &mut positions).await?;
                    }
                    Err(error) => return Err(SendError(error.to_string())),
                }
            };
            waiting.push_back((self.config.topic(record.topic), future));
        }
        while !waiting.is_empty() {
            settle(waiting.pop_front(), &mut positions).await?;
        }
        for record in records {
            published(record.topic).increment(1);
        }
        Ok(positions)
    }

    fn enqueue(&self, record: &Record) -> Result<DeliveryFuture, KafkaError> {
        let topic = self.config.topic(record.topic);
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = FutureRecord::to(&topic).key(&record.key).payload(&record.payload).headers(headers);
        self.inner.send_result(record).map_err(|(error, _)| error)
    }

    /// Waits, up to ten seconds, until nothing is under way: a dropped producer loses what it holds.
    pub async fn flush(&self) {
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.flush(Duration::from_secs(10)));
        if !matches!(flushed.await, Ok(Ok(()))) {
            tracing::warn!(
                under_way = self.inner.in_flight_count(),
                "Kafka did not take everything before the stop"
            );
        }
    }
}

fn published(topic: Topic) -> metrics::Counter {
    metrics::counter!("orchestration_events_published_total", "topic" => topic.to_string())
}

/// Waits for the oldest record; where another producer call holds the queue, a short while for its room.
async fn settle(
    oldest: Option<(String, DeliveryFuture)>,
    positions: &mut Positions,
) -> Result<(), SendError> {
    let Some((topic, future)) = oldest else {
        tokio::time::sleep(Duration::from_millis(20)).await;
        return Ok(());
    };
    let delivery = future.await.map_err(|_| SendError("the producer was closed".to_owned()))?;
    let delivery = delivery.map_err(|(error, _)| SendError(error.to_string()))?;
    let position = positions.entry((topic, delivery.partition)).or_default();
    *position = (*position).max(delivery.offset + 1);
    Ok(())
}
