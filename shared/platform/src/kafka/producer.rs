//! The producer: sends a batch in order and returns when Kafka has acknowledged all of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::{KafkaConfig, PROBE_TIMEOUT};
use crate::offsets::Offsets;
use contract::events::{Record, Topic};

/// The largest record before compression, in bytes: the limit on a provider's response is the same.
const MAX_RECORD_BYTES: usize = 16 << 20;
/// How long to wait for queue space that other calls occupy.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(20);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(4);
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Failed batches in a row after which this process, or Kafka, is not fit to publish.
const MAX_FAILURES: u32 = 3;

/// Sends records to Kafka, each acknowledged by all in-sync replicas. Clones share the client, which is
/// replaced after a fatal error.
#[derive(Clone)]
pub struct Producer {
    client: Arc<RwLock<FutureProducer>>,
    failures_in_a_row: Arc<AtomicU32>,
    config: KafkaConfig,
}

/// The outcome of a batch that Kafka acknowledged.
#[derive(Debug, Default)]
pub struct SendReport {
    /// The offsets after the last records of the batch.
    pub offsets: Offsets,
    /// The indices of the records that exceed the topic's size limit. All others were acknowledged.
    pub oversized: BTreeSet<usize>,
}

/// A batch was not acknowledged, or only in part: send the whole batch again.
#[derive(Debug, thiserror::Error)]
#[error(
    "Kafka did not acknowledge the events ({0}); check that it is up and that this service may write to its \
     topics"
)]
pub struct SendError(String);

/// A record in the producer's queue.
struct PendingDelivery<'a> {
    index: usize,
    record: &'a Record,
    future: DeliveryFuture,
}

impl Producer {
    /// Opens a producer without waiting for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a setting.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let client = Arc::new(RwLock::new(open_client(config)?));
        Topic::ALL.map(published).iter().for_each(|counter| counter.increment(0));
        Topic::ALL.map(too_large).iter().for_each(|counter| counter.increment(0));
        Ok(Self { client, failures_in_a_row: Arc::default(), config: config.clone() })
    }

    /// Whether the last batches all failed: no other work should be begun that needs Kafka.
    pub fn is_failing(&self) -> bool {
        self.failures_in_a_row.load(Ordering::Relaxed) >= MAX_FAILURES
    }

    /// Permits one attempt after [`is_failing`](Self::is_failing): one more failure, and it fails again.
    pub fn permit_attempt(&self) {
        self.failures_in_a_row.store(MAX_FAILURES - 1, Ordering::Relaxed);
    }

    /// Sends all records in order and awaits the acknowledgements together. A record above the topic's size
    /// limit is logged and left out, because it would block all later records forever.
    ///
    /// # Errors
    /// When any other record is not acknowledged within 30 seconds.
    pub async fn send(&self, records: &[Record]) -> Result<SendReport, SendError> {
        let client = self.client();
        let sent = self.send_by(&client, records).await;
        match &sent {
            Ok(_) => self.failures_in_a_row.store(0, Ordering::Relaxed),
            Err(_) => {
                self.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                self.replace_if_fatal(&client);
            }
        }
        sent
    }

    fn client(&self) -> FutureProducer {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a new client in place of one that can never send again.
    fn replace_if_fatal(&self, failed: &FutureProducer) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if client.client().fatal_error().is_none() {
            // Another call has replaced it.
            return;
        }
        match open_client(&self.config) {
            Ok(new) => {
                tracing::error!(%code, reason, "fatal error of the Kafka producer; replaced by a new one");
                *client = new;
            }
            Err(error) => tracing::error!(%code, reason, %error, "Kafka producer not replaced"),
        }
    }

    async fn send_by(&self, client: &FutureProducer, records: &[Record]) -> Result<SendReport, SendError> {
        let mut pending = VecDeque::new();
        let mut report = SendReport::default();
        for (index, record) in records.iter().enumerate() {
            loop {
                match self.enqueue(client, record) {
                    Ok(future) => pending.push_back(PendingDelivery { index, record, future }),
                    Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                        match pending.pop_front() {
                            Some(oldest) => self.await_delivery(client, oldest, &mut report).await?,
                            None => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                        }
                        continue;
                    }
                    Err(error) if is_too_large(&error) => report.add_oversized(index, record),
                    Err(error) => return Err(SendError(error.to_string())),
                }
                break;
            }
        }
        for delivery in pending {
            self.await_delivery(client, delivery, &mut report).await?;
        }
        Ok(report)
    }

    async fn await_delivery(
        &self,
        client: &FutureProducer,
        pending: PendingDelivery<'_>,
        report: &mut SendReport,
    ) -> Result<(), SendError> {
        let PendingDelivery { index, record, future } = pending;
        let mut delivery = acknowledged(future).await?;
        if delivery.is_none() {
            // Kafka rejects a whole produce request if one record in it is too large.
            let alone = self.enqueue(client, record).map_err(|error| SendError(error.to_string()))?;
            delivery = acknowledged(alone).await?;
        }
        let Some(delivery) = delivery else {
            report.add_oversized(index, record);
            return Ok(());
        };
        let partition = (self.config.topic(record.topic), delivery.partition);
        let next = match delivery.offset {
            0.. => delivery.offset + 1,
            _ => find_end(client, &partition).await?,
        };
        let offset = report.offsets.entry(partition).or_default();
        *offset = (*offset).max(next);
        published(record.topic).increment(1);
        Ok(())
    }

    fn enqueue(&self, client: &FutureProducer, record: &Record) -> Result<DeliveryFuture, KafkaError> {
        let topic = self.config.topic(record.topic);
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = FutureRecord::to(&topic).key(&record.key).payload(&record.payload).headers(headers);
        client.send_result(record).map_err(|(error, _)| error)
    }

    /// Whether a broker answers within two seconds.
    pub async fn is_reachable(&self) -> bool {
        let client = self.client();
        let topic = self.config.topic(Topic::Runs);
        let answers = tokio::task::spawn_blocking(move || {
            client.client().fetch_metadata(Some(&topic), PROBE_TIMEOUT).is_ok()
        });
        answers.await.unwrap_or(false)
    }

    /// Waits up to four seconds until the queue is empty: a dropped producer loses what is still in it.
    pub async fn flush(&self) {
        let client = self.client();
        let flushing = client.clone();
        let flushed = tokio::task::spawn_blocking(move || flushing.flush(FLUSH_TIMEOUT));
        if !matches!(flushed.await, Ok(Ok(()))) {
            let in_flight = client.in_flight_count();
            tracing::warn!(in_flight, "unsent records dropped");
        }
    }
}

fn open_client(config: &KafkaConfig) -> Result<FutureProducer, KafkaError> {
    config
        .client()
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        // The partitioner of the Java client, so that clients in every language find a key on the same
        // partition.
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "30000")
        .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
        .set("queue.buffering.max.messages", "20000")
        .set("queue.buffering.max.kbytes", "32768")
        .create()
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

/// Returns the end of a partition. Kafka returns no offset for a record that it had already stored, when the
/// first acknowledgement was lost: the record is before the end.
async fn find_end(client: &FutureProducer, partition: &(String, i32)) -> Result<i64, SendError> {
    let (client, (topic, partition)) = (client.clone(), partition.clone());
    let find = move || client.client().fetch_watermarks(&topic, partition, END_TIMEOUT);
    match tokio::task::spawn_blocking(find).await {
        Ok(Ok((_, end))) => Ok(end),
        Ok(Err(error)) => Err(SendError(error.to_string())),
        Err(error) => Err(SendError(error.to_string())),
    }
}

/// Waits until Kafka acknowledges a record. None when the record is too large.
async fn acknowledged(future: DeliveryFuture) -> Result<Option<Delivery>, SendError> {
    match future.await.map_err(|_| SendError("the producer was closed".to_owned()))? {
        Ok(delivery) => Ok(Some(delivery)),
        Err((error, _)) if is_too_large(&error) => Ok(None),
        Err((error, _)) => Err(SendError(error.to_string())),
    }
}

impl SendReport {
    fn add_oversized(&mut self, index: usize, record: &Record) {
        let Record { topic, key, payload, .. } = record;
        let bytes = payload.len();
        tracing::error!(%topic, key, bytes, "oversized event dropped");
        too_large(*topic).increment(1);
        self.oversized.insert(index);
    }
}
