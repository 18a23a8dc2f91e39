//! The streamed topics in Kafka: their partitions, the watermarks of these, and a consumer without a group
//! that reads them from given positions. The tail interprets the records.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::events::Topic;
use platform::kafka::KafkaConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::STREAMED_TOPICS;
use super::cursor::{Positions, TopicPartition};

/// How long a request to Kafka may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A reader of the streamed topics.
pub(super) struct LogReader {
    consumer: StreamConsumer,
    names: Vec<(String, Topic)>,
}

/// The low and high watermarks of each partition.
pub(super) struct Watermarks {
    low: Positions,
    high: Positions,
}

/// Why the topics cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogReaderError {
    #[error("Kafka request failed: {0}")]
    Kafka(#[from] KafkaError),
    #[error("topic {0} does not exist yet; the worker creates it when it starts")]
    NoTopic(String),
}

impl LogReader {
    /// Creates the consumer without connecting.
    ///
    /// # Errors
    /// When librdkafka rejects a setting.
    pub(super) fn open(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let consumer = kafka
            .client()
            // librdkafka requires a group id, although assigned partitions need no group.
            .set("group.id", kafka.group("live"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A silent reset to another offset would lose changes.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "16384")
            .create()?;
        let names = STREAMED_TOPICS.iter().map(|topic| (kafka.topic(*topic), *topic)).collect();
        Ok(Self { consumer, names })
    }

    /// Returns the topics' names on this cluster.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Returns the topic that has this name on this cluster.
    pub(super) fn topic(&self, name: &str) -> Option<Topic> {
        self.names.iter().find(|(of, _)| of == name).map(|(_, topic)| *topic)
    }

    /// Assigns the partitions from these positions on.
    pub(super) fn assign(&self, start: &Positions) -> Result<(), KafkaError> {
        let mut partitions = TopicPartitionList::new();
        for (name, topic) in &self.names {
            for ((_, partition), next) in start.iter().filter(|((of, _), _)| of == topic) {
                partitions.add_partition_offset(name, partition, Offset::Offset(next))?;
            }
        }
        self.consumer.assign(&partitions)
    }

    /// Waits for the next record.
    ///
    /// # Errors
    /// With the consumer's error; [`is_fatal`] says whether reading can continue.
    pub(super) async fn next(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        self.consumer.recv().await
    }

    /// Fetches the partitions of all topics; blocks.
    ///
    /// # Errors
    /// Also when a topic does not exist.
    pub(super) fn partitions(&self) -> Result<BTreeSet<TopicPartition>, LogReaderError> {
        let mut all = BTreeSet::new();
        for (name, topic) in &self.names {
            let metadata = self.consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let before = all.len();
            all.extend(partitions.map(|partition| (*topic, partition.id())));
            if all.len() == before {
                return Err(LogReaderError::NoTopic(name.clone()));
            }
        }
        Ok(all)
    }

    /// Fetches the watermarks of all partitions; blocks.
    ///
    /// # Errors
    /// Also when a topic does not exist.
    pub(super) fn watermarks(&self) -> Result<Watermarks, LogReaderError> {
        let partitions = self.partitions()?;
        Ok(Watermarks {
            low: self.offsets(&partitions, Offset::Beginning)?,
            high: self.offsets(&partitions, Offset::End)?,
        })
    }

    /// Requests the offsets of all partitions at once: ListOffsets takes the two ends of a log as special
    /// timestamps.
    fn offsets(&self, partitions: &BTreeSet<TopicPartition>, end: Offset) -> Result<Positions, KafkaError> {
        let mut request = TopicPartitionList::new();
        for (name, topic) in &self.names {
            for (_, partition) in partitions.iter().filter(|(of, _)| of == topic) {
                request.add_partition_offset(name, *partition, end)?;
            }
        }
        let response = self.consumer.offsets_for_times(request, REQUEST_TIMEOUT)?;
        let mut offsets = Positions::default();
        for element in response.elements() {
            element.error()?;
            if let (Some(topic), Offset::Offset(offset)) = (self.topic(element.topic()), element.offset()) {
                offsets.advance((topic, element.partition()), offset);
            }
        }
        Ok(offsets)
    }
}

impl Watermarks {
    /// Returns the positions up to which the read model contains the log; everything after them is still to
    /// be streamed. The rows of topics that are not projected are written before their records, so that these
    /// topics count as projected to the end.
    pub(super) fn projected(&self, offsets: &Positions) -> Positions {
        let projected = |(partition, high): (TopicPartition, i64)| match partition.0 {
            topic if !Topic::STATE.contains(&topic) => (partition, high),
            _ => (partition, offsets.at(partition).clamp(self.low.at(partition), high)),
        };
        self.high.iter().map(projected).collect()
    }

    /// Returns the positions that many records earlier, counted over all partitions together. A partition
    /// with few records leaves the rest of its share to the others.
    pub(super) fn before(&self, positions: &Positions, records: usize) -> Positions {
        let stored = |(partition, next)| (next - self.low.at(partition), partition);
        let mut partitions: Vec<_> = positions.iter().map(stored).collect();
        partitions.sort_unstable();
        let (mut left, mut sharing) = (records as i64, partitions.len() as i64);
        let before = |(stored, partition): (i64, TopicPartition)| {
            let read = stored.clamp(0, left / sharing);
            (left, sharing) = (left - read, sharing - 1);
            (partition, positions.at(partition) - read)
        };
        partitions.into_iter().map(before).collect()
    }
}

/// Returns whether reading cannot continue. A consumer reconnects by itself, but cannot recover a missing
/// offset or partition.
pub(super) fn is_fatal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition};
    match error {
        KafkaError::MessageConsumptionFatal(_) => true,
        KafkaError::MessageConsumption(code) => {
            [AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition].contains(code)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: TopicPartition = (Topic::Runs, 0);
    const QUIET: TopicPartition = (Topic::Comments, 0);
    const EMPTY: TopicPartition = (Topic::Incidents, 0);

    #[test]
    fn past_records_are_read_where_there_are_any() {
        let low = Positions::from_iter([(BUSY, 1_000), (QUIET, 5), (EMPTY, 7)]);
        let high = Positions::from_iter([(BUSY, 9_000), (QUIET, 15), (EMPTY, 7)]);
        let watermarks = Watermarks { low, high: high.clone() };
        let begin = |records| {
            let begin = watermarks.before(&high, records);
            [BUSY, QUIET, EMPTY].map(|partition| begin.at(partition))
        };
        assert_eq!(begin(300), [8_710, 5, 7]);
        assert_eq!(begin(6), [8_997, 12, 7]);
        assert_eq!(begin(100_000), [1_000, 5, 7]);
        assert_eq!(begin(0), [9_000, 15, 7]);
    }
}
