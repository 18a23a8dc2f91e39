//! The log as Kafka keeps it: which partitions there are, where they begin and end, and a consumer that reads them from
//! wherever it is told. What is read there is for the tail.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::events::Topic;
use platform::kafka::KafkaConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::TOLD;
use super::cursor::{Place, Positions};

const PATIENCE: Duration = Duration::from_secs(5);

/// The topics that are told of.
pub struct Log {
    consumer: StreamConsumer,
    names: Vec<(String, Topic)>,
}

/// Where each partition begins and ends.
pub struct Extent {
    low: Positions,
    high: Positions,
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("Kafka does not answer well: {0}")]
    Kafka(#[from] KafkaError),
    #[error("topic {0} is not there yet; the worker makes it when it starts")]
    NoTopic(String),
}

impl Log {
    /// Opens it without waiting for Kafka.
    ///
    /// # Errors
    /// When a setting is not one of librdkafka's.
    pub fn open(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let consumer = kafka
            .client()
            // Nobody joins it: the client wants a name before it reads partitions of its own choice.
            .set("group.id", kafka.group("live"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // To begin elsewhere without a word would be a gap.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "16384")
            .create()?;
        let names = TOLD.iter().map(|topic| (kafka.topic(*topic), *topic)).collect();
        Ok(Self { consumer, names })
    }

    /// The topics' names on this cluster.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The topic that has this name on this cluster.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.names.iter().find(|(of, _)| of == name).map(|(_, topic)| *topic)
    }

    /// Reads from here on.
    ///
    /// # Errors
    /// When the client does not take it.
    pub fn read_from(&self, start: &Positions) -> Result<(), KafkaError> {
        let mut partitions = TopicPartitionList::new();
        for (name, topic) in &self.names {
            for ((_, partition), next) in start.places().filter(|((of, _), _)| of == topic) {
                partitions.add_partition_offset(name, partition, Offset::Offset(next))?;
            }
        }
        self.consumer.assign(&partitions)
    }

    /// The next record, whenever it comes.
    ///
    /// # Errors
    /// When Kafka does not answer well; see [`is_final`].
    pub async fn next(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        self.consumer.recv().await
    }

    /// Asks which partitions there are; blocks.
    ///
    /// # Errors
    /// When Kafka does not answer, or a topic is missing.
    pub fn places(&self) -> Result<BTreeSet<Place>, LogError> {
        let mut places = BTreeSet::new();
        for (name, topic) in &self.names {
            let metadata = self.consumer.fetch_metadata(Some(name), PATIENCE)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let before = places.len();
            places.extend(partitions.map(|partition| (*topic, partition.id())));
            if places.len() == before {
                return Err(LogError::NoTopic(name.clone()));
            }
        }
        Ok(places)
    }

    /// Asks where the partitions begin and end; blocks.
    ///
    /// # Errors
    /// When Kafka does not answer, or a topic is missing.
    pub fn extent(&self) -> Result<Extent, LogError> {
        let places = self.places()?;
        Ok(Extent {
            low: self.offsets(&places, Offset::Beginning)?,
            high: self.offsets(&places, Offset::End)?,
        })
    }

    /// One question for all partitions: the protocol takes the two ends for moments in time.
    fn offsets(&self, places: &BTreeSet<Place>, end: Offset) -> Result<Positions, KafkaError> {
        let mut asked = TopicPartitionList::new();
        for (name, topic) in &self.names {
            for (_, partition) in places.iter().filter(|(of, _)| of == topic) {
                asked.add_partition_offset(name, *partition, end)?;
            }
        }
        let answered = self.consumer.offsets_for_times(asked, PATIENCE)?;
        let mut offsets = Positions::default();
        for element in answered.elements() {
            element.error()?;
            if let (Some(topic), Offset::Offset(offset)) = (self.topic(element.topic()), element.offset()) {
                offsets.advance((topic, element.partition()), offset);
            }
        }
        Ok(offsets)
    }
}

impl Extent {
    /// How far the read model shows it: everything after that is still to be told. A sync is shown before it is here.
    pub fn shown(&self, projected: &Positions) -> Positions {
        let shown = |(place, high): (Place, i64)| match place.0 {
            Topic::Syncs => (place, high),
            _ => (place, projected.at(place).clamp(self.low.at(place), high)),
        };
        self.high.places().map(shown).collect()
    }

    /// So many records before these positions, of all partitions together.
    pub fn before(&self, positions: &Positions, records: usize) -> Positions {
        let of_each = (records / positions.places().count().max(1)) as i64;
        let before = |(place, next): (Place, i64)| (place, (next - of_each).max(self.low.at(place)));
        positions.places().map(before).collect()
    }
}

/// Whether going on is no use: a consumer connects again by itself, but finds no offset that is not there.
pub fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition};
    match error {
        KafkaError::MessageConsumptionFatal(_) => true,
        KafkaError::MessageConsumption(code) => {
            [AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition].contains(code)
        }
        _ => false,
    }
}
