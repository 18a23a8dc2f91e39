//! Where an assigned partition is started: at its stored offset, unless the log is not the one that was read
//! before. A topic that was created again, or a log that has lost its end, has new records at offsets that
//! were applied already; it is read from its start, since an event that is applied again changes nothing.
//!
//! A topic that was created again has another id. A log that has lost its end is found by the leader epoch of
//! the last applied record: librdkafka asks the broker where that epoch ends. Where either is not known, the
//! timestamp of the last applied record is compared with the one in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use platform::kafka::{KafkaConfig, native};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, TopicPartitionList};
use uuid::Uuid;

use crate::metrics::count_log_reset;
use crate::store::projection_offsets::StoredOffset;

const TIMEOUT: Duration = Duration::from_secs(5);

/// An assigned partition, its watermarks, and how far it was applied.
pub(super) struct AssignedPartition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) low: i64,
    pub(super) high: i64,
    /// The topic's id; none when Kafka does not tell it.
    pub(super) topic_id: Option<Uuid>,
    pub(super) stored: Option<StoredOffset>,
}

/// A position in a log that is to be the log that was read before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum KnownPosition {
    /// The next offset, after a record of this leader epoch.
    Next { offset: i64, epoch: i32 },
    /// The last applied record, with its timestamp.
    Last { offset: i64, timestamp: i64 },
}

/// By partition.
type KnownPositions = BTreeMap<i32, KnownPosition>;

impl AssignedPartition {
    /// Whether the topic is another one than was read before.
    fn is_other_topic(&self) -> bool {
        let ids = self.topic_id.zip(self.stored.and_then(|stored| stored.topic_id));
        ids.is_some_and(|(id, stored)| id != stored)
    }

    /// What is known of the log before the stored offset, if the log still reaches to it.
    fn known_position(&self) -> Option<KnownPosition> {
        let stored = self.stored?;
        let StoredOffset { next_offset: next, topic_id, last_timestamp, last_epoch } = stored;
        if next <= self.low || next > self.high || self.is_other_topic() {
            return None;
        }
        match last_epoch.filter(|_| topic_id.is_some() && topic_id == self.topic_id) {
            Some(epoch) => Some(KnownPosition::Next { offset: next, epoch }),
            None => Some(KnownPosition::Last { offset: next - 1, timestamp: last_timestamp? }),
        }
    }

    /// Whether nothing is to be stored for a start at this offset.
    pub(super) fn is_stored(&self, start: i64) -> bool {
        self.stored.is_some_and(|stored| {
            stored.next_offset == start && (self.topic_id.is_none() || self.topic_id == stored.topic_id)
        })
    }

    /// The offset to start at, given whether the log has other records before the stored one.
    pub(super) fn start_offset(&self, is_replaced: bool) -> i64 {
        let Self { topic, partition, low, high, stored, .. } = self;
        let Some(StoredOffset { next_offset: next, .. }) = *stored else { return *low };
        let problem = if next == *low {
            return next;
        } else if self.is_other_topic() {
            "the topic was created again"
        } else if next > *high {
            "the log ends before the stored offset"
        } else if is_replaced {
            "the log has other records before the stored offset"
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

/// Why the log could not be compared with what was read before.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("Kafka did not send the last records of {0} within five seconds")]
    TimedOut(String),
}

/// Returns the partitions whose log has other records than were read before.
pub(super) fn find_replaced(
    kafka: &KafkaConfig,
    assigned: &[AssignedPartition],
) -> Result<BTreeSet<(String, i32)>, CompareError> {
    let mut by_topic: BTreeMap<&str, KnownPositions> = BTreeMap::new();
    for of in assigned {
        if let Some(position) = of.known_position() {
            by_topic.entry(&of.topic).or_default().insert(of.partition, position);
        }
    }
    let mut replaced = BTreeSet::new();
    for (topic, positions) in by_topic {
        let found = compare(&open_consumer(kafka)?, topic, positions)?;
        replaced.extend(found.into_iter().map(|partition| (topic.to_owned(), partition)));
    }
    Ok(replaced)
}

fn open_consumer(kafka: &KafkaConfig) -> Result<BaseConsumer, KafkaError> {
    kafka
        .client()
        .set("group.id", kafka.group("last-records"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", "16384")
        .set("queued.max.messages.kbytes", "1024")
        .create()
}

/// Reads one record of each partition of a topic, and returns the partitions whose log is another one.
fn compare(
    consumer: &BaseConsumer,
    topic: &str,
    mut known: KnownPositions,
) -> Result<Vec<i32>, CompareError> {
    seek(consumer, topic, &known)?;
    let until = Instant::now() + TIMEOUT;
    let mut replaced = Vec::new();
    while !known.is_empty() {
        if Instant::now() > until {
            return Err(CompareError::TimedOut(topic.to_owned()));
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let Some(position) = known.remove(&record.partition()) else { continue };
                if is_other(position, record.offset(), record.timestamp().to_millis()) {
                    replaced.push(record.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(known.remove(&partition)),
            // A position is not in the log. rdkafka does not tell of which partition: all are read again.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                replaced.extend(std::mem::take(&mut known).into_keys());
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(replaced)
}

/// Begins to read at these positions. librdkafka compares a position that it seeks, and not one that is
/// assigned, with the end of its epoch.
fn seek(consumer: &BaseConsumer, topic: &str, known: &KnownPositions) -> Result<(), KafkaError> {
    let mut positions = TopicPartitionList::new();
    for (partition, position) in known {
        let (offset, epoch) = match *position {
            KnownPosition::Next { offset, epoch } => (offset, Some(epoch)),
            KnownPosition::Last { offset, .. } => (offset, None),
        };
        native::add_position(&mut positions, (topic, *partition), offset, epoch)?;
    }
    consumer.assign(&positions)?;
    let sought = consumer.seek_partitions(positions, TIMEOUT)?;
    sought.elements().iter().try_for_each(|partition| partition.error())
}

/// Whether the record that was found is another one than was applied. Where compaction has removed that one,
/// its timestamp proves nothing.
fn is_other(known: KnownPosition, found_offset: i64, found_timestamp: Option<i64>) -> bool {
    let KnownPosition::Last { offset, timestamp } = known else { return false };
    found_offset == offset && found_timestamp.is_some_and(|found| found != timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const OTHER_ID: Uuid = Uuid::from_u128(2);

    fn assigned(next: Option<i64>, stored_id: Option<Uuid>, topic_id: Option<Uuid>) -> AssignedPartition {
        let stored = StoredOffset {
            next_offset: 0,
            topic_id: stored_id,
            last_timestamp: Some(7),
            last_epoch: Some(3),
        };
        let stored = next.map(|next_offset| StoredOffset { next_offset, ..stored });
        AssignedPartition { topic: "runs".to_owned(), partition: 0, low: 10, high: 20, topic_id, stored }
    }

    #[test]
    fn a_partition_starts_at_its_stored_offset_unless_its_log_was_replaced() {
        let start = |next, is_replaced| assigned(next, Some(ID), Some(ID)).start_offset(is_replaced);
        assert_eq!(start(None, false), 10);
        assert_eq!(start(Some(15), false), 15);
        assert_eq!(start(Some(20), false), 20);
        assert_eq!(start(Some(21), false), 10);
        assert_eq!(start(Some(15), true), 10);
        assert_eq!(start(Some(5), false), 10);
        let start = |stored_id, topic_id| assigned(Some(15), stored_id, topic_id).start_offset(false);
        assert_eq!(start(Some(ID), Some(OTHER_ID)), 10);
        assert_eq!(start(Some(ID), None), 15);
        assert_eq!(start(None, Some(ID)), 15);
    }

    #[test]
    fn the_id_of_a_topic_is_stored_once_it_is_known() {
        let is_stored = |stored_id, topic_id| assigned(Some(15), stored_id, topic_id).is_stored(15);
        assert!(is_stored(Some(ID), Some(ID)));
        assert!(!is_stored(None, Some(ID)));
        assert!(!is_stored(Some(ID), Some(OTHER_ID)));
        // Kafka does not tell the id at this moment.
        assert!(is_stored(Some(ID), None));
        assert!(!assigned(Some(15), Some(ID), Some(ID)).is_stored(10));
    }

    #[test]
    fn timestamps_are_compared_where_the_topic_is_not_known_to_be_the_same() {
        let position = |stored_id, topic_id| assigned(Some(15), stored_id, topic_id).known_position();
        let next = Some(KnownPosition::Next { offset: 15, epoch: 3 });
        let last = Some(KnownPosition::Last { offset: 14, timestamp: 7 });
        assert_eq!(position(Some(ID), Some(ID)), next);
        assert_eq!(position(None, Some(ID)), last);
        assert_eq!(position(Some(ID), None), last);
        assert_eq!(position(None, None), last);
        assert_eq!(position(Some(ID), Some(OTHER_ID)), None);
        assert_eq!(assigned(Some(10), Some(ID), Some(ID)).known_position(), None);
        assert_eq!(assigned(Some(21), Some(ID), Some(ID)).known_position(), None);
    }

    #[test]
    fn only_another_timestamp_at_the_same_offset_is_another_record() {
        let last = KnownPosition::Last { offset: 4, timestamp: 100 };
        assert!(!is_other(last, 4, Some(100)));
        assert!(is_other(last, 4, Some(101)));
        assert!(!is_other(last, 4, None));
        // Compaction has removed the record.
        assert!(!is_other(last, 6, Some(101)));
    }
}
