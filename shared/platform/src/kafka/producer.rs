//! The producer: sends a batch in order and answers when Kafka has all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::KafkaConfig;
use contract::events::{Record, Topic};

/// Where a batch ended: topic and partition, and the offset after the last record.
pub type Positions = BTreeMap<(String, i32), i64>;

/// The largest record before it is compressed, in bytes: no answer of a provider may be larger.
const LARGEST: usize = 16 << 20;

/// Sends records to Kafka, each acknowledged by all in-sync replicas.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
    config: KafkaConfig,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Sent {
    pub positions: Positions,
    /// By their places in the batch, the records that are larger than Kafka takes. It has all others.
    pub left_out: BTreeSet<usize>,
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
            .set("message.max.bytes", LARGEST.to_string())
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "32768")
            .create()?;
        Topic::ALL.map(published).iter().for_each(|counter| counter.increment(0));
        Topic::ALL.map(too_large).iter().for_each(|counter| counter.increment(0));
        Ok(Self { inner, config: config.clone() })
    }

    /// Sends all records in order, awaiting the acknowledgements together. One that is larger than Kafka takes is told of
    /// in the log and left out: it would be in the way of all that come after it for ever.
    ///
    /// # Errors
    /// When any other record was not acknowledged within 30 seconds.
    pub async fn send(&self, records: &[Record]) -> Result<Sent, SendError> {
        let mut waiting = VecDeque::new();
        let mut sent = Sent::default();
        for (place, record) in records.iter().enumerate() {
            loop {
                match self.enqueue(record) {
                    Ok(future) => waiting.push_back((place, record, future)),
                    Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                        self.settle(waiting.pop_front(), &mut sent).await?;
                        continue;
                    }
                    Err(error) if is_too_large(&error) => sent.leave_out(place, record),
                    Err(error) => return Err(SendError(error.to_string())),
                }
                break;
            }
        }
        while !waiting.is_empty() {
            self.settle(waiting.pop_front(), &mut sent).await?;
        }
        Ok(sent)
    }

    /// Waits for the oldest record; where another producer call holds the queue, a short while for its room.
    async fn settle(
        &self,
        oldest: Option<(usize, &Record, DeliveryFuture)>,
        sent: &mut Sent,
    ) -> Result<(), SendError> {
        let Some((place, record, future)) = oldest else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Ok(());
        };
        let mut delivery = delivered(future).await?;
        if delivery.is_none() {
            // All that were sent with one that is too large are refused with it.
            let alone = self.enqueue(record).map_err(|error| SendError(error.to_string()))?;
            delivery = delivered(alone).await?;
        }
        let Some(delivery) = delivery else {
            sent.leave_out(place, record);
            return Ok(());
        };
        let position =
            sent.positions.entry((self.config.topic(record.topic), delivery.partition)).or_default();
        *position = (*position).max(delivery.offset + 1);
        published(record.topic).increment(1);
        Ok(())
    }

    fn enqueue(&self, record: &Record) -> Result<DeliveryFuture, KafkaError> {
        let topic = self.config.topic(record.topic);
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = FutureRecord::to(&topic).key(&record.key).payload(&record.payload).headers(headers);
        self.inner.send_result(record).map_err(|(error, _)| error)
    }

    /// Waits, up to four seconds, until nothing is under way: a dropped producer loses what it holds.
    pub async fn flush(&self) {
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.flush(Duration::from_secs(4)));
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

fn too_large(topic: Topic) -> metrics::Counter {
    metrics::counter!("orchestration_events_too_large_total", "topic" => topic.to_string())
}

fn is_too_large(error: &KafkaError) -> bool {
    *error == KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Waits until Kafka has a record; none when it is too large.
async fn delivered(future: DeliveryFuture) -> Result<Option<Delivery>, SendError> {
    match future.await.map_err(|_| SendError("the producer was closed".to_owned()))? {
        Ok(delivery) => Ok(Some(delivery)),
        Err((error, _)) if is_too_large(&error) => Ok(None),
        Err((error, _)) => Err(SendError(error.to_string())),
    }
}

impl Sent {
    fn leave_out(&mut self, place: usize, record: &Record) {
        let Record { topic, key, payload, .. } = record;
        let bytes = payload.len();
        tracing::error!(%topic, key, bytes, "an event is larger than Kafka takes and is left out; raise its topic's max.message.bytes (16 MiB are the most)");
        too_large(*topic).increment(1);
        self.left_out.insert(place);
    }
}
