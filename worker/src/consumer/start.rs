//! Where an assigned partition is started: at its stored offset, unless the log is not the one that was read
//! before. A topic that was created again, or a log that has lost its end, has new records at offsets that
//! were applied already; it is read from its start, since an event that is applied again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use platform::kafka::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::metrics::count_log_reset;
use crate::store::projection_offsets::StoredOffset;

const TIMEOUT: Duration = Duration::from_secs(5);

/// An assigned partition, its watermarks, and how far it was applied.
pub(super) struct AssignedPartition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) low: i64,
    pub(super) high: i64,
    pub(super) stored: Option<StoredOffset>,
}

/// The last records that were applied and are in the log: by partition, offset and timestamp.
type LastRecords = BTreeMap<i32, (i64, i64)>;

impl AssignedPartition {
    /// The offset and timestamp of the last applied record, if the log still reaches to it.
    fn last_record(&self) -> Option<(i64, i64)> {
        let StoredOffset { next_offset, last_timestamp } = self.stored?;
        (next_offset > self.low && next_offset <= self.high).then_some((next_offset - 1, last_timestamp?))
    }

    /// The offset to start at, given whether the last applied record was replaced by another one.
    pub(super) fn start_offset(&self, is_replaced: bool) -> i64 {
        let Self { topic, partition, low, high, stored } = self;
        let Some(StoredOffset { next_offset: next, .. }) = *stored else { return *low };
        let problem = if next > *high {
            "the log ends before the stored offset"
        } else if is_replaced {
            "the log has another record before the stored offset"
        } else if next < *low {
            "records were removed before they were read"
        } else {
            return next;
        };
        let (stored, start) = (next, low);
        tracing::error!(topic, partition, stored, low, high, start, problem, "log read from its start");
        count_log_reset();
        *low
    }
}

/// Why the last applied records could not be compared with the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("Kafka did not send the last records of {0} within five seconds")]
    TimedOut(String),
}

/// Returns the partitions whose last applied record was replaced by another one. A record that compaction has
/// removed proves nothing.
pub(super) fn find_replaced(
    kafka: &KafkaConfig,
    assigned: &[AssignedPartition],
) -> Result<BTreeSet<(String, i32)>, CompareError> {
    let mut by_topic: BTreeMap<&str, LastRecords> = BTreeMap::new();
    for of in assigned {
        if let Some(last) = of.last_record() {
            by_topic.entry(&of.topic).or_default().insert(of.partition, last);
        }
    }
    let mut replaced = BTreeSet::new();
    if by_topic.is_empty() {
        return Ok(replaced);
    }
    let consumer: BaseConsumer = kafka
        .client()
        .set("group.id", kafka.group("last-records"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", "16384")
        .set("queued.max.messages.kbytes", "1024")
        .create()?;
    for (topic, last) in by_topic {
        let found = compare(&consumer, topic, last)?;
        replaced.extend(found.into_iter().map(|partition| (topic.to_owned(), partition)));
    }
    Ok(replaced)
}

/// Reads one record of each partition of a topic, and returns the partitions where it is another one.
fn compare(consumer: &BaseConsumer, topic: &str, mut last: LastRecords) -> Result<Vec<i32>, CompareError> {
    let mut partitions = TopicPartitionList::new();
    for (partition, (offset, _)) in &last {
        partitions.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&partitions)?;
    let until = Instant::now() + TIMEOUT;
    let mut replaced = Vec::new();
    while !last.is_empty() {
        if Instant::now() > until {
            return Err(CompareError::TimedOut(topic.to_owned()));
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let Some(expected) = last.remove(&record.partition()) else { continue };
                if is_other(expected, record.offset(), record.timestamp().to_millis()) {
                    replaced.push(record.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(last.remove(&partition)),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(replaced)
}

/// Whether the record at this offset is another one than was applied.
fn is_other((offset, timestamp): (i64, i64), found_offset: i64, found_timestamp: Option<i64>) -> bool {
    found_offset == offset && found_timestamp.is_some_and(|found| found != timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_starts_at_its_stored_offset_unless_its_log_was_replaced() {
        let start = |stored: Option<i64>, is_replaced| {
            let stored = stored.map(|next_offset| StoredOffset { next_offset, last_timestamp: Some(7) });
            let (topic, partition, low, high) = ("runs".to_owned(), 0, 10, 20);
            AssignedPartition { topic, partition, low, high, stored }.start_offset(is_replaced)
        };
        assert_eq!(start(None, false), 10);
        assert_eq!(start(Some(15), false), 15);
        assert_eq!(start(Some(20), false), 20);
        assert_eq!(start(Some(21), false), 10);
        assert_eq!(start(Some(15), true), 10);
        assert_eq!(start(Some(5), false), 10);
    }

    #[test]
    fn only_another_timestamp_at_the_same_offset_is_another_record() {
        assert!(!is_other((4, 100), 4, Some(100)));
        assert!(is_other((4, 100), 4, Some(101)));
        assert!(!is_other((4, 100), 4, None));
        // Compaction has removed the record.
        assert!(!is_other((4, 100), 6, Some(101)));
    }
}
