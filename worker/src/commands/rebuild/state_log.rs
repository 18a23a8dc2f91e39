//! The state topics as a rebuild reads them: topic by topic, from the first record to the last one. Errors of
//! Kafka that pass are waited out, since a rebuild may take hours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contract::events::Topic;
use platform::kafka::KafkaConfig;
use platform::offsets::Offsets;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::block_in_place;

use crate::records::ConsumedRecord;

const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);
/// How long Kafka may be away before a rebuild ends.
const MAX_KAFKA_OUTAGE: Duration = Duration::from_secs(600);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
const MAX_BATCH_RECORDS: usize = 2_000;
const MAX_BATCH_BYTES: usize = 4 << 20;

/// The state topics and how far they have been read.
pub(super) struct StateLog {
    kafka: KafkaConfig,
    consumer: BaseConsumer,
    offsets: Offsets,
    /// Since when Kafka has sent nothing that was waited for.
    waiting_since: Option<Instant>,
}

/// The partitions of a topic that have not been read to their ends, each with its end.
pub(super) struct UnreadTopic {
    name: String,
    ends: BTreeMap<i32, i64>,
}

impl UnreadTopic {
    pub(super) fn is_read(&self) -> bool {
        self.ends.is_empty()
    }
}

impl StateLog {
    pub(super) fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = kafka
            .client()
            .set("group.id", kafka.group("rebuild"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "4096")
            // Of a partition at a time, compressed: a few kilobytes may become megabytes.
            .set("fetch.message.max.bytes", "65536")
            .create()?;
        let (offsets, waiting_since) = (Offsets::new(), None);
        let mut log = Self { kafka: kafka.clone(), consumer, offsets, waiting_since };
        for topic in Topic::STATE.map(|topic| kafka.topic(topic)) {
            let metadata = block_in_place(|| log.consumer.fetch_metadata(Some(&topic), KAFKA_TIMEOUT))
                .context("Kafka does not answer")?;
            let found = metadata.topics().iter().flat_map(|topic| topic.partitions());
            if found.clone().next().is_none() {
                bail!("there is no topic {topic}; check --kafka-prefix");
            }
            for partition in found {
                let (low, _) = log.find_watermarks(&topic, partition.id())?;
                log.offsets.insert((topic.clone(), partition.id()), low);
            }
        }
        Ok(log)
    }

    /// The offset of the next record of each partition.
    pub(super) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Refuses topics of which nothing was ever projected, because they belong to another installation.
    pub(super) fn check_was_projected(&self, projected: &Offsets) -> anyhow::Result<()> {
        let is_known = projected.keys().any(|partition| self.offsets.contains_key(partition));
        if !projected.is_empty() && !is_known {
            bail!("nothing of these topics was ever projected; check --kafka-prefix");
        }
        Ok(())
    }

    /// Refuses topics that end before the log offset of a row: Kafka lost records, and a rebuild would lose
    /// the rows.
    pub(super) fn check_is_complete(&mut self, last_offsets: [Option<i64>; 3]) -> anyhow::Result<()> {
        for (topic, last_offset) in Topic::STATE.into_iter().zip(last_offsets) {
            let name = self.kafka.topic(topic);
            let end = self.find_ends(&name)?.into_values().max().unwrap_or(0);
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

    /// How many offsets remain before the end.
    pub(super) fn lag(&mut self) -> anyhow::Result<u64> {
        let mut lag = 0;
        for topic in Topic::STATE.map(|topic| self.kafka.topic(topic)) {
            for (partition, end) in self.find_ends(&topic)? {
                lag += (end - self.offset(&topic, partition)).max(0);
            }
        }
        Ok(lag.unsigned_abs())
    }

    /// Begins to read a topic where it was left, up to its present ends.
    pub(super) fn begin(&mut self, topic: Topic) -> anyhow::Result<UnreadTopic> {
        let name = self.kafka.topic(topic);
        let mut ends = self.find_ends(&name)?;
        ends.retain(|partition, end| self.offset(&name, *partition) < *end);
        let mut partitions = TopicPartitionList::new();
        for partition in ends.keys() {
            let from = Offset::Offset(self.offset(&name, *partition));
            partitions.add_partition_offset(&name, *partition, from)?;
        }
        self.consumer.assign(&partitions)?;
        self.waiting_since = None;
        Ok(UnreadTopic { name, ends })
    }

    /// Reads the next records of the topic, none when none has arrived yet. A partition is also read when the
    /// broker says so: its last offsets may hold no record, as after a transaction.
    ///
    /// # Errors
    /// When Kafka made no progress for ten minutes, or lost records that were not read.
    pub(super) fn read_batch(&mut self, topic: &mut UnreadTopic) -> anyhow::Result<Vec<ConsumedRecord>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < MAX_BATCH_RECORDS && bytes < MAX_BATCH_BYTES && !topic.is_read() {
            let record = match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => ConsumedRecord::read(&message, &self.kafka, &Topic::STATE),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(end) = topic.ends.remove(&partition) {
                        self.advance(&topic.name, partition, end);
                    }
                    continue;
                }
                Some(Err(error)) => {
                    self.tolerate(&error)?;
                    break;
                }
                None => {
                    self.wait_longer()?;
                    break;
                }
            };
            let next = record.offset + 1;
            self.advance(&topic.name, record.partition, next);
            if topic.ends.get(&record.partition).is_some_and(|end| next >= *end) {
                topic.ends.remove(&record.partition);
            }
            bytes += record.size();
            records.push(record);
        }
        Ok(records)
    }

    fn offset(&self, topic: &str, partition: i32) -> i64 {
        self.offsets.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    fn advance(&mut self, topic: &str, partition: i32, next: i64) {
        let offset = self.offsets.entry((topic.to_owned(), partition)).or_default();
        *offset = (*offset).max(next);
        self.waiting_since = None;
    }

    fn find_ends(&mut self, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        let partitions = self.offsets.keys().filter(|(of, _)| of == topic).map(|(_, partition)| *partition);
        let partitions: Vec<i32> = partitions.collect();
        self.waiting_since = None;
        let mut ends = BTreeMap::new();
        for partition in partitions {
            ends.insert(partition, self.find_watermarks(topic, partition)?.1);
        }
        Ok(ends)
    }

    fn find_watermarks(&mut self, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
        loop {
            let watermarks = || self.consumer.fetch_watermarks(topic, partition, KAFKA_TIMEOUT);
            match block_in_place(watermarks) {
                Ok(watermarks) => return Ok(watermarks),
                Err(error) => self.tolerate(&error)?,
            }
            block_in_place(|| std::thread::sleep(RETRY_PAUSE));
        }
    }

    /// Logs an error that may pass, such as the restart of a broker.
    fn tolerate(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        let is_lasting = match error {
            KafkaError::MessageConsumptionFatal(_) => true,
            KafkaError::MessageConsumption(code) => {
                matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
            }
            _ => false,
        };
        if is_lasting {
            return Err(error.clone()).context("Kafka lost records that were not read");
        }
        tracing::warn!(%error, "Kafka not read; retrying");
        self.wait_longer()
    }

    fn wait_longer(&mut self) -> anyhow::Result<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if since.elapsed() > MAX_KAFKA_OUTAGE {
            bail!("Kafka has not answered for {} s", since.elapsed().as_secs());
        }
        Ok(())
    }
}
