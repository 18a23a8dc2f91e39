//! Creates the topics of the contract, and rejects existing topics whose configuration contradicts it.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaConfig;
use contract::events::Topic;

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("Kafka does not answer: {0}")]
    Kafka(#[from] KafkaError),
    #[error(
        "Kafka tells nothing of topic {topic} yet; if this goes on, allow the user to describe it and its \
         configuration"
    )]
    NotVisible { topic: String },
    #[error(
        "Topic {topic} cannot be made ({code}); allow the user to create it, or ask for no more replicas \
         than there are brokers with --kafka-replication"
    )]
    CreateFailed { topic: String, code: RDKafkaErrorCode },
    #[error("Topic {topic} cannot be checked ({code}); allow the user to describe its configuration")]
    DescribeFailed { topic: String, code: RDKafkaErrorCode },
    #[error(
        "Topic {topic} has {name}={found}, but the event contract needs {name}={wanted}; change it with \
         kafka-configs, or point to another cluster"
    )]
    ConfigMismatch { topic: String, name: &'static str, found: String, wanted: &'static str },
}

impl TopicError {
    /// Whether a retry may succeed without an operator's intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Kafka(_) | Self::NotVisible { .. })
    }

    /// Whether fewer brokers are up than a topic is to have replicas: too many are wanted, or a broker is
    /// late.
    pub fn is_for_lack_of_brokers(&self) -> bool {
        matches!(self, Self::CreateFailed { code: RDKafkaErrorCode::InvalidReplicationFactor, .. })
    }
}

/// Creates missing topics and checks the configuration of the others.
///
/// # Errors
/// When Kafka does not respond within ten seconds, or an existing topic's configuration contradicts the
/// contract.
pub async fn ensure_topics(config: &KafkaConfig) -> Result<(), TopicError> {
    let topics = TopicAdmin {
        config,
        admin: config.client().create()?,
        options: AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT)),
    };
    let missing = topics.check().await?;
    if missing.is_empty() {
        return Ok(());
    }
    topics.create(&missing).await?;
    match topics.check().await?.first() {
        None => Ok(()),
        Some(topic) => Err(TopicError::NotVisible { topic: config.topic(*topic) }),
    }
}

/// Maximum size of a compressed event, in bytes. The brokers' default of one mebibyte is too small for a run
/// with a large `conf`.
const MAX_MESSAGE_BYTES: &str = "8388608";
const TIMEOUT: Duration = Duration::from_secs(10);

struct TopicAdmin<'a> {
    config: &'a KafkaConfig,
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl TopicAdmin<'_> {
    /// Compares the topics with the contract; returns the missing ones.
    async fn check(&self) -> Result<Vec<Topic>, TopicError> {
        let names = Topic::ALL.map(|topic| self.config.topic(topic));
        let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let described = self.admin.describe_configs(&resources, &self.options).await?;
        let mut missing = Vec::new();
        for (topic, described) in Topic::ALL.into_iter().zip(described) {
            match described {
                // A topic that does not exist is described, too, without entries.
                Ok(described) if described.entries.is_empty() => missing.push(topic),
                Ok(described) => self.compare(topic, &described)?,
                Err(code) => {
                    return Err(TopicError::DescribeFailed { topic: self.config.topic(topic), code });
                }
            }
        }
        Ok(missing)
    }

    fn compare(&self, topic: Topic, described: &ConfigResource) -> Result<(), TopicError> {
        self.warn_of_small_limit(topic, described);
        for &(name, wanted) in topic.config() {
            let Some(found) = described.get(name).and_then(|entry| entry.value.clone()) else {
                return Err(TopicError::NotVisible { topic: self.config.topic(topic) });
            };
            if found != wanted {
                return Err(TopicError::ConfigMismatch {
                    topic: self.config.topic(topic),
                    name,
                    found,
                    wanted,
                });
            }
        }
        Ok(())
    }

    /// Warns of a topic that was made beforehand with a smaller limit of records. It is used all the same:
    /// few events are as large, and a cluster may permit no more.
    fn warn_of_small_limit(&self, topic: Topic, described: &ConfigResource) {
        let found = described.get("max.message.bytes").and_then(|entry| entry.value.as_ref());
        let bytes = |value: &str| value.parse::<u64>().ok();
        let (limit, wanted) = (found.and_then(|value| bytes(value)), bytes(MAX_MESSAGE_BYTES));
        if let Some(limit) = limit.filter(|limit| Some(*limit) < wanted) {
            let topic = self.config.topic(topic);
            tracing::warn!(topic, limit, wanted, "topic accepts no large events: raise max.message.bytes");
        }
    }

    async fn create(&self, missing: &[Topic]) -> Result<(), TopicError> {
        let names: Vec<String> = missing.iter().map(|topic| self.config.topic(*topic)).collect();
        let topics: Vec<_> =
            missing.iter().zip(&names).map(|(topic, name)| describe_new(self.config, *topic, name)).collect();
        for outcome in self.admin.create_topics(&topics, &self.options).await? {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(TopicError::CreateFailed { topic, code }),
            }
        }
        Ok(())
    }
}

/// A topic to create. With three replicas or more a record is acknowledged once two of them have it;
/// otherwise the loss of one broker could lose acknowledged records.
fn describe_new<'a>(config: &KafkaConfig, topic: Topic, name: &'a str) -> NewTopic<'a> {
    let replication = TopicReplication::Fixed(config.kafka_replication);
    let new = NewTopic::new(name, config.kafka_partitions, replication);
    let new = new.set("max.message.bytes", MAX_MESSAGE_BYTES);
    let new = topic.config().iter().fold(new, |new, (name, value)| new.set(name, value));
    if config.kafka_replication >= 3 { new.set("min.insync.replicas", "2") } else { new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::KafkaOptions;

    #[test]
    fn a_record_on_three_replicas_is_acknowledged_by_two() {
        for (replication, expected) in [(1, None), (2, None), (3, Some("2")), (5, Some("2"))] {
            let config = KafkaConfig {
                kafka_bootstrap_servers: String::new(),
                kafka_prefix: String::new(),
                kafka_partitions: 6,
                kafka_replication: replication,
                kafka_options: KafkaOptions::default(),
                kafka_options_file: None,
            };
            let new = describe_new(&config, Topic::Runs, "runs");
            let found = new.config.iter().find(|(name, _)| *name == "min.insync.replicas");
            assert_eq!(found.map(|(_, value)| *value), expected, "{replication}");
        }
    }
}
