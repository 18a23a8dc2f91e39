//! Rebuilds the read model from the topics alone: into fresh tables beside the live ones, which are served
//! and projected into until the tables are swapped in one transaction. It takes the owner of the schema,
//! because the worker's own role may not create tables.

use std::time::Duration;

use anyhow::{Context, bail};
use contract::events::Topic;
use contract::ids::SyncId;
use indicatif::ProgressBar;
use platform::db;
use platform::kafka::KafkaConfig;
use platform::offsets::{Offsets, find_projected};
use platform::sync_queue::{NewSync, SyncOrigin, enqueue};
use provider::connector::AIRFLOW;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::block_in_place;
use uuid::Uuid;

use crate::cli::RebuildArgs;
use crate::consumer::bisect::{Bisection, is_caused_by_data};
use crate::projection;
use crate::records::ConsumedRecord;
use crate::store::{connectors, projection_offsets, rebuild};

const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_BATCH_RECORDS: usize = 2_000;
/// How often new records may arrive between reading to the end and swapping.
const MAX_SWAP_ATTEMPTS: usize = 100;

/// Rebuilds and swaps the read model, requests a full sync of every connector, because a compacted log may
/// lack the latest events, and prints what it did. After an error the read model is as it was.
pub async fn rebuild(args: &RebuildArgs) -> anyhow::Result<()> {
    let settings = &args.settings;
    let pool = db::pool_of_long_statements(&settings.database, "orchestration-worker-rebuild")?;
    let mut db = pool.acquire().await?.detach();
    // Held until this connection ends: a second rebuild would drop the tables of the first one.
    if !rebuild::try_begin(&mut db).await? {
        bail!("another rebuild is under way; wait for its end, or stop it");
    }
    let mut log = StateLog::open(&settings.kafka)?;
    log.check_was_projected(&find_projected(&mut db).await?)?;
    if !args.accept_loss {
        log.check_is_complete(&mut db).await?;
    }
    rebuild::create_fresh_tables(&mut db).await?;
    let is_swapped = log.project_and_swap(&mut db).await?;
    db.close().await?;
    if !is_swapped {
        bail!(
            "records arrive faster than they can be read; try again at a quieter time, the old read model \
             stays"
        );
    }
    let requested = request_full_syncs(&pool).await?;
    println!("the read model is new, from {} records; {requested} full syncs asked for", log.records_read);
    Ok(())
}

/// The state topics, read from their start.
struct StateLog {
    kafka: KafkaConfig,
    consumer: BaseConsumer,
    offsets: Offsets,
    records_read: u64,
}

impl StateLog {
    fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = kafka
            .client()
            .set("group.id", kafka.group("rebuild"))
            .set("enable.auto.commit", "false")
            .set("queued.max.messages.kbytes", "32768")
            .create()?;
        let mut offsets = Offsets::new();
        let mut partitions = TopicPartitionList::new();
        for topic in Topic::STATE.map(|topic| kafka.topic(topic)) {
            let metadata = block_in_place(|| consumer.fetch_metadata(Some(&topic), KAFKA_TIMEOUT))
                .context("Kafka does not answer")?;
            let found = metadata.topics().iter().flat_map(|topic| topic.partitions());
            if found.clone().next().is_none() {
                bail!("there is no topic {topic}; check --kafka-prefix");
            }
            for partition in found {
                partitions.add_partition_offset(&topic, partition.id(), Offset::Beginning)?;
                let (low, _) = watermarks(&consumer, &topic, partition.id())?;
                offsets.insert((topic.clone(), partition.id()), low);
            }
        }
        consumer.assign(&partitions)?;
        Ok(Self { kafka: kafka.clone(), consumer, offsets, records_read: 0 })
    }

    /// Refuses topics of which nothing was ever projected, because they belong to another installation.
    fn check_was_projected(&self, projected: &Offsets) -> anyhow::Result<()> {
        let is_known = projected.keys().any(|partition| self.offsets.contains_key(partition));
        if !projected.is_empty() && !is_known {
            bail!("nothing of these topics was ever projected; check --kafka-prefix");
        }
        Ok(())
    }

    /// Refuses topics that end before the log offset of a row: Kafka lost records, and a rebuild would lose
    /// the rows.
    async fn check_is_complete(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        let last_offsets = rebuild::find_last_log_offsets(db).await?;
        for (topic, last_offset) in Topic::STATE.into_iter().zip(last_offsets) {
            let name = self.kafka.topic(topic);
            let mut end = 0;
            for (_, partition) in self.offsets.keys().filter(|(topic, _)| *topic == name) {
                let (_, high) = watermarks(&self.consumer, &name, *partition)?;
                end = end.max(high);
            }
            if let Some(read) = last_offset.filter(|offset| *offset >= end) {
                bail!(
                    "{name} ends at {end}, but rows were read at {read} of it: Kafka lost what it said of \
                     them, and a rebuild would lose them too; deploy/README.md says how to have it said \
                     again, --accept-loss goes on without"
                );
            }
        }
        Ok(())
    }

    /// Projects to the end of the log and swaps the tables; false when new records kept arriving in between.
    async fn project_and_swap(&mut self, db: &mut PgConnection) -> anyhow::Result<bool> {
        let bar = ProgressBar::new(self.lag()?);
        let mut is_swapped = false;
        for _ in 0..MAX_SWAP_ATTEMPTS {
            self.project_to_end(db, &bar).await?;
            is_swapped = swap(db, &self.offsets).await?;
            if is_swapped {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(is_swapped)
    }

    /// How many offsets remain before the end.
    fn lag(&self) -> anyhow::Result<u64> {
        let mut lag = 0;
        for ((topic, partition), offset) in &self.offsets {
            let (_, high) = watermarks(&self.consumer, topic, *partition)?;
            lag += (high - offset).max(0);
        }
        Ok(lag.unsigned_abs())
    }

    async fn project_to_end(&mut self, db: &mut PgConnection, bar: &ProgressBar) -> anyhow::Result<()> {
        while self.lag()? > 0 {
            let records = block_in_place(|| self.poll_batch())?;
            let mut tx = db.begin().await?;
            apply(&mut tx, &records).await?;
            tx.commit().await?;
            bar.inc(records.len() as u64);
            self.records_read += records.len() as u64;
        }
        Ok(())
    }

    fn poll_batch(&mut self) -> anyhow::Result<Vec<ConsumedRecord>> {
        let mut records = Vec::new();
        while records.len() < MAX_BATCH_RECORDS {
            let Some(message) = self.consumer.poll(Duration::from_millis(200)) else { break };
            let message = message.context("Kafka does not answer well")?;
            let record = ConsumedRecord::read(&message, &self.kafka, &Topic::STATE);
            self.offsets.insert((record.topic_name.clone(), record.partition), record.offset + 1);
            records.push(record);
        }
        Ok(records)
    }
}

fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
    Ok(block_in_place(|| consumer.fetch_watermarks(topic, partition, KAFKA_TIMEOUT))?)
}

/// Applies a batch. Rejected records are logged and skipped.
async fn apply(db: &mut PgConnection, records: &[ConsumedRecord]) -> sqlx::Result<()> {
    let mut bisection = Bisection::new(records);
    while let Some(slice) = bisection.next_slice() {
        let mut savepoint = db.begin().await?;
        match projection::apply(&mut savepoint, slice).await {
            Ok(rejected) => {
                savepoint.commit().await?;
                rejected.iter().for_each(|rejected| log_skipped(&slice[rejected.index], &rejected.error));
            }
            Err(error) if is_caused_by_data(&error) => {
                savepoint.rollback().await?;
                if let Some(record) = bisection.halve(slice) {
                    log_skipped(record, &error.to_string());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn log_skipped(record: &ConsumedRecord, error: &str) {
    let ConsumedRecord { topic_name: topic, partition, offset, .. } = record;
    tracing::warn!(topic, partition, offset, error, "invalid record skipped");
}

/// Swaps the tables, unless a worker has projected further than `reached`.
async fn swap(db: &mut PgConnection, reached: &Offsets) -> anyhow::Result<bool> {
    let mut tx = db.begin().await?;
    projection_offsets::lock(&mut tx).await?;
    let projected = find_projected(&mut *tx).await?;
    let is_behind = projected
        .iter()
        .any(|(partition, next)| reached.get(partition).is_some_and(|reached| reached < next));
    if is_behind {
        return Ok(false);
    }
    rebuild::swap_tables(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Enqueues a full sync of every active connector; returns how many.
async fn request_full_syncs(pool: &PgPool) -> anyhow::Result<usize> {
    let mut tx = pool.begin().await?;
    let active = connectors::find_active(&mut *tx, AIRFLOW).await?;
    let full_sync = |(space_id, connector_id)| NewSync {
        id: SyncId(Uuid::now_v7()),
        space_id,
        connector_id,
        full: true,
        accept_mass_deletion: false,
        origin: SyncOrigin::CommandLine,
    };
    let syncs: Vec<NewSync> = active.into_iter().map(full_sync).collect();
    let enqueued = enqueue(&mut tx, &syncs).await?;
    tx.commit().await?;
    Ok(enqueued)
}
