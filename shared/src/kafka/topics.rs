//! Makes the topics of the contract, and refuses to work on ones that contradict it.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaConfig;
use crate::events::Topic;

/// Why the topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("Kafka does not answer: {0}")]
    Kafka(#[from] KafkaError),
    #[error("Kafka does not know topic {topic} yet")]
    Unsettled { topic: String },
    #[error("Topic {topic} could not be made: {code}")]
    Refused { topic: String, code: RDKafkaErrorCode },
    #[error(
        "Topic {topic} has {name}={found}, but the event contract needs {name}={wanted}; change it with kafka-configs, or point to another cluster"
    )]
    Contradicts { topic: String, name: &'static str, found: String, wanted: &'static str },
}

impl TopicError {
    /// Whether asking again may help without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Kafka(_) | Self::Unsettled { .. })
    }
}

/// Makes the missing topics and checks the others.
///
/// # Errors
/// When Kafka does not answer within ten seconds, or an existing topic's configuration contradicts the contract.
pub async fn ensure_topics(config: &KafkaConfig) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> = config.client().create()?;
    let options = AdminOptions::new()
        .operation_timeout(Some(Duration::from_secs(10)))
        .request_timeout(Some(Duration::from_secs(10)));
    make(&admin, &options, config).await?;
    check(&admin, &options, config).await
}

async fn make(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    config: &KafkaConfig,
) -> Result<(), TopicError> {
    let names = Topic::ALL.map(|topic| config.topic(topic));
    let topics: Vec<_> = Topic::ALL
        .iter()
        .zip(&names)
        .map(|(topic, name)| {
            let new = NewTopic::new(
                name,
                config.kafka_partitions,
                TopicReplication::Fixed(config.kafka_replication),
            );
            topic.config().iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    for outcome in admin.create_topics(&topics, options).await? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Refused { topic, code }),
        }
    }
    Ok(())
}

async fn check(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    config: &KafkaConfig,
) -> Result<(), TopicError> {
    let names = Topic::ALL.map(|topic| config.topic(topic));
    let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    for (topic, described) in Topic::ALL.iter().zip(admin.describe_configs(&resources, options).await?) {
        let described =
            described.map_err(|code| TopicError::Refused { topic: config.topic(*topic), code })?;
        for &(name, wanted) in topic.config() {
            let Some(found) = described.get(name).and_then(|entry| entry.value.clone()) else {
                return Err(TopicError::Unsettled { topic: config.topic(*topic) });
            };
            if found != wanted {
                return Err(TopicError::Contradicts { topic: config.topic(*topic), name, found, wanted });
            }
        }
    }
    Ok(())
}
