//! Which partitions are ours and how far each is read, from PostgreSQL and not from Kafka's group offsets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::batch::Positions;

const ASSIGN_TRIES: u32 = 20;
/// A topic that was just made, or a broker that was just started, takes a moment: nothing to be warned of.
const SETTLING_TRIES: u32 = 3;

/// The consumer's context: it answers rebalances.
pub struct Assigned {
    pool: PgPool,
    runtime: Handle,
    stop: CancellationToken,
    positions: Mutex<Positions>,
    failed: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum AssignError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Assigned {
    pub fn new(pool: PgPool, runtime: Handle, stop: CancellationToken) -> Self {
        Self { pool, runtime, stop, positions: Mutex::default(), failed: AtomicBool::new(false) }
    }

    /// The next offset of every partition that is ours.
    pub fn positions(&self) -> Positions {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how far the partitions that are still ours were read.
    pub fn advance(&self, to: &Positions) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, next) in positions.iter_mut() {
            *next = to.get(partition).copied().unwrap_or(*next);
        }
    }

    /// Whether an assignment could not be taken up.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<(), AssignError> {
        let mut started = Positions::new();
        for mut element in partitions.elements() {
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            let (low, high) = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(5))?;
            let next = self.runtime.block_on(start(&self.pool, &topic, partition, low, high))?;
            element.set_offset(Offset::Offset(next))?;
            started.insert((topic, partition), next);
        }
        consumer.incremental_assign(partitions)?;
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).extend(started);
        Ok(())
    }

    fn assign_patiently(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) {
        for tried in 0..ASSIGN_TRIES {
            if self.stop.is_cancelled() {
                break;
            }
            match self.assign(consumer, partitions) {
                Ok(()) => return,
                Err(error) if tried < SETTLING_TRIES => {
                    tracing::info!(%error, "the assigned partitions cannot be read yet");
                }
                Err(error) => tracing::warn!(%error, "the assigned partitions cannot be read"),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.failed.store(true, Ordering::Relaxed);
        // An assignment that is not answered would keep the client from ever closing.
        if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
            tracing::warn!(%error, "an assignment could not be declined");
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        for element in partitions.elements() {
            positions.remove(&(element.topic().to_owned(), element.partition()));
        }
        if let Err(error) = consumer.incremental_unassign(partitions) {
            tracing::warn!(%error, "partitions could not be given back");
        }
    }
}

impl ClientContext for Assigned {}

impl ConsumerContext for Assigned {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign_patiently(consumer, partitions);
        } else {
            self.revoke(consumer, partitions);
        }
    }
}

/// Where to begin: where PostgreSQL says, unless the log does not reach so far (a topic that was made anew).
async fn start(pool: &PgPool, topic: &str, partition: i32, low: i64, high: i64) -> Result<i64, sqlx::Error> {
    let stored: Option<i64> =
        sqlx::query_scalar("select next_offset from projection_offsets where topic = $1 and partition = $2")
            .bind(topic)
            .bind(partition)
            .fetch_optional(pool)
            .await?;
    let next = match stored {
        Some(stored) if stored > high => {
            tracing::warn!(
                topic,
                partition,
                stored,
                high,
                "the log is shorter than what was read; it is read anew"
            );
            low
        }
        Some(stored) => stored.max(low),
        None => low,
    };
    if stored != Some(next) {
        sqlx::query(
            "insert into projection_offsets (topic, partition, next_offset) values ($1, $2, $3)
             on conflict (topic, partition) do update set next_offset = excluded.next_offset",
        )
        .bind(topic)
        .bind(partition)
        .bind(next)
        .execute(pool)
        .await?;
    }
    Ok(next)
}
