//! The topics of a worker under test: what they contain, and whether the read model contains it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::events::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Headers;
use rdkafka::{Message, TopicPartitionList};

use crate::test_worker::TestWorker;

const TIMEOUT: Duration = Duration::from_secs(120);

impl TestWorker {
    /// Waits until the read model contains every record of the state topics.
    pub(crate) async fn wait_until_projected(&self) {
        testkit::eventually("all records are projected", TIMEOUT, async || {
            let projected = platform::offsets::find_projected(&self.pool).await.unwrap();
            // A partition may have no leader at this moment.
            let Ok(ends) = tokio::task::block_in_place(|| self.ends()) else { return false };
            ends.iter().all(|(partition, (_, high))| projected.get(partition).unwrap_or(&0) >= high)
        })
        .await;
    }

    /// Every event of one entity on a topic, oldest first: its headers and its data.
    pub(crate) fn events(
        &self,
        topic: Topic,
        key: &str,
    ) -> Vec<(BTreeMap<String, String>, serde_json::Value)> {
        let mut client = self.kafka().client();
        client.set("group.id", "reader").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..self.kafka().kafka_partitions {
            partitions
                .add_partition_offset(&self.kafka().topic(topic), partition, rdkafka::Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let mut events = Vec::new();
        let mut unread = BTreeSet::from_iter(0..self.kafka().kafka_partitions);
        while !unread.is_empty() {
            let message = match consumer.poll(TIMEOUT).expect("Kafka answers") {
                Err(KafkaError::PartitionEOF(partition)) => {
                    unread.remove(&partition);
                    continue;
                }
                message => message.unwrap(),
            };
            if message.key() != Some(key.as_bytes()) {
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let headers = message.headers().unwrap().iter();
            let headers =
                headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
            events.push((headers, serde_json::from_slice(message.payload().unwrap()).unwrap()));
        }
        events
    }

    /// The number of records in the state topics.
    pub(crate) fn published_records(&self) -> i64 {
        self.ends().unwrap().into_values().map(|(low, high)| high - low).sum()
    }

    /// The first and the next offset of every partition of the state topics.
    fn ends(&self) -> KafkaResult<BTreeMap<(String, i32), (i64, i64)>> {
        let consumer: BaseConsumer = self.kafka().client().create().unwrap();
        let partitions = Topic::STATE.iter().flat_map(|topic| {
            let name = self.kafka().topic(*topic);
            (0..self.kafka().kafka_partitions).map(move |partition| (name.clone(), partition))
        });
        partitions
            .map(|of| {
                let watermarks = consumer.fetch_watermarks(&of.0, of.1, TIMEOUT)?;
                Ok((of, watermarks))
            })
            .collect()
    }
}
