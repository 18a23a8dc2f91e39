//! Rebalances: which partitions are assigned to this consumer, and their offsets, which come from PostgreSQL
//! and not from Kafka's group offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platform::health::Heartbeat;
use platform::kafka::{KafkaConfig, native};
use platform::offsets::Offsets;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ConsumerConfig;
use super::start::{self, AssignedPartition, CompareError};
use crate::store::{connector_state, projection_offsets};

const MAX_ATTEMPTS: u32 = 20;
/// The first failures are no reason for a warning: a new topic or a broker that has just started takes a
/// moment.
const QUIET_ATTEMPTS: u32 = 3;
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(5);
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The context of a consumer, which librdkafka calls at every rebalance.
pub(super) struct RebalanceContext {
    kafka: KafkaConfig,
    pool: PgPool,
    runtime: Handle,
    stop: CancellationToken,
    heartbeat: Heartbeat,
    offsets: Mutex<Offsets>,
    failed: AtomicBool,
    /// Whether it was logged that Kafka does not tell the ids of topics.
    is_warned: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum AssignError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl RebalanceContext {
    pub(super) fn new(config: &ConsumerConfig, runtime: Handle, stop: CancellationToken) -> Self {
        Self {
            kafka: config.kafka.clone(),
            pool: config.pool.clone(),
            runtime,
            stop,
            heartbeat: config.heartbeat.clone(),
            offsets: Mutex::default(),
            failed: AtomicBool::new(false),
            is_warned: AtomicBool::new(false),
        }
    }

    /// The next offset of every assigned partition.
    pub(super) fn offsets(&self) -> Offsets {
        self.lock_offsets().clone()
    }

    /// Advances the offsets of the partitions that are still assigned.
    pub(super) fn advance(&self, to: &Offsets) {
        for (partition, next) in self.lock_offsets().iter_mut() {
            *next = to.get(partition).copied().unwrap_or(*next);
        }
    }

    /// Whether assigned partitions could not be started.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn lock_offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<(), AssignError> {
        let assigned = self.find_offsets(consumer, partitions)?;
        for mut element in partitions.elements() {
            let next = assigned[&(element.topic().to_owned(), element.partition())];
            element.set_offset(Offset::Offset(next))?;
        }
        consumer.incremental_assign(partitions)?;
        self.lock_offsets().extend(assigned);
        Ok(())
    }

    /// Returns the ids of the topics of these partitions, and none of them when Kafka does not tell them.
    fn find_topic_ids(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> BTreeMap<String, Uuid> {
        let elements = partitions.elements();
        let topics: BTreeSet<&str> = elements.iter().map(TopicPartitionListElem::topic).collect();
        let ids = native::find_topic_ids(consumer.client(), &Vec::from_iter(topics), DESCRIBE_TIMEOUT);
        ids.unwrap_or_else(|error| {
            if !self.is_warned.swap(true, Ordering::Relaxed) {
                let effect = "topics that are created again are found by the timestamps of records";
                tracing::warn!(%error, effect, "topics cannot be described");
            }
            BTreeMap::new()
        })
    }

    /// Returns the offsets at which these partitions start, and stores those that differ from the stored
    /// ones.
    fn find_offsets(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> Result<Offsets, AssignError> {
        let topic_ids = self.find_topic_ids(consumer, partitions);
        let mut assigned = Vec::new();
        for element in partitions.elements() {
            self.heartbeat.record();
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            let (low, high) = consumer.fetch_watermarks(&topic, partition, WATERMARKS_TIMEOUT)?;
            let stored = self.runtime.block_on(projection_offsets::find(&self.pool, &topic, partition))?;
            let topic_id = topic_ids.get(&topic).copied();
            assigned.push(AssignedPartition { topic, partition, low, high, topic_id, stored });
        }
        let replaced = start::find_replaced(&self.kafka, &assigned)?;
        let mut offsets = Offsets::new();
        for of in assigned {
            self.heartbeat.record();
            let partition = (of.topic.clone(), of.partition);
            let start = of.start_offset(replaced.contains(&partition));
            if of.stored.is_some_and(|stored| stored.next_offset != start) {
                self.runtime.block_on(connector_state::forget_published(&self.pool))?;
            }
            if !of.is_stored(start) {
                let topic = (of.topic.as_str(), of.topic_id);
                self.runtime.block_on(projection_offsets::set(&self.pool, topic, of.partition, start))?;
            }
            offsets.insert(partition, start);
        }
        Ok(offsets)
    }

    fn assign_with_retry(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) {
        for attempt in 0..MAX_ATTEMPTS {
            if self.stop.is_cancelled() {
                break;
            }
            match self.assign(consumer, partitions) {
                Ok(()) => return,
                Err(error) if attempt < QUIET_ATTEMPTS => {
                    tracing::info!(%error, "assigned partitions not ready");
                }
                Err(error) => tracing::warn!(%error, "assignment of partitions failed"),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.failed.store(true, Ordering::Relaxed);
        // The client never closes unless every rebalance is followed by an assignment.
        if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
            tracing::warn!(%error, "assignment of no partitions failed");
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let mut offsets = self.lock_offsets();
        for element in partitions.elements() {
            offsets.remove(&(element.topic().to_owned(), element.partition()));
        }
        if let Err(error) = consumer.incremental_unassign(partitions) {
            tracing::warn!(%error, "revocation of partitions failed");
        }
    }
}

impl ClientContext for RebalanceContext {}

impl ConsumerContext for RebalanceContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign_with_retry(consumer, partitions);
        } else {
            self.revoke(consumer, partitions);
        }
    }
}
