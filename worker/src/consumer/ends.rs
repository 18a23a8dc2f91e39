//! The ends of topics.

use std::time::Duration;

use contract::events::Topic;
use platform::kafka::KafkaConfig;
use platform::offsets::Offsets;
use rdkafka::consumer::{BaseConsumer, Consumer};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Finds the offset of the next record of every partition of these topics.
///
/// # Errors
/// When Kafka does not answer within ten seconds.
pub(crate) async fn find_ends(kafka: &KafkaConfig, topics: &'static [Topic]) -> anyhow::Result<Offsets> {
    let (consumer, kafka): (BaseConsumer, _) = (kafka.client().create()?, kafka.clone());
    let find = move || {
        let mut ends = Offsets::new();
        for topic in topics.iter().map(|topic| kafka.topic(*topic)) {
            let metadata = consumer.fetch_metadata(Some(&topic), TIMEOUT)?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                let (_, end) = consumer.fetch_watermarks(&topic, partition.id(), TIMEOUT)?;
                ends.insert((topic.clone(), partition.id()), end);
            }
        }
        Ok(ends)
    };
    tokio::task::spawn_blocking(find).await?
}
