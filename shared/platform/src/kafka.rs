//! The way to Kafka: settings, topics and the producer. What is said there is for `events`; reading is the worker's.

mod producer;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
pub use producer::{Positions, Producer, SendError, Sent};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use secrecy::{ExposeSecret, SecretString};
pub use topics::{TopicError, ensure_topics};

use contract::events::Topic;

/// How to reach Kafka, and how its topics are to be made.
#[derive(Args, Clone, Debug)]
pub struct KafkaConfig {
    /// Kafka bootstrap servers, host:port pairs separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,

    /// Put before every topic and consumer group, for several installations on one Kafka cluster
    #[arg(long, env = "ORCHESTRATION_KAFKA_PREFIX", default_value = "", hide_default_value = true)]
    pub kafka_prefix: String,

    /// Partitions of a topic that is made
    #[arg(long, env = "ORCHESTRATION_KAFKA_PARTITIONS", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub kafka_partitions: i32,

    /// Replicas of a topic that is made
    #[arg(long, env = "ORCHESTRATION_KAFKA_REPLICATION", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10))]
    pub kafka_replication: i32,

    /// Further librdkafka settings for every client, name=value pairs separated by commas (security.protocol, sasl.username, …)
    #[arg(long, env = "ORCHESTRATION_KAFKA_OPTIONS", hide_env_values = true, default_value = "", hide_default_value = true, value_parser = parse_options)]
    pub kafka_options: KafkaOptions,
}

/// Settings that go to librdkafka as they are. They may hold a password.
#[derive(Clone, Debug, Default)]
pub struct KafkaOptions(BTreeMap<String, SecretString>);

fn parse_options(text: &str) -> Result<KafkaOptions, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned().into())),
            None => Err("must be name=value pairs separated by commas".to_owned()),
        })
        .collect::<Result<_, _>>()
        .map(KafkaOptions)
}

impl KafkaConfig {
    /// What every client starts from.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka_bootstrap_servers).set("client.id", "orchestration");
        for (name, value) in &self.kafka_options.0 {
            client.set(name, value.expose_secret());
        }
        client
    }

    /// A topic's name on this cluster.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.kafka_prefix)
    }

    /// A consumer group's name on this cluster.
    pub fn group(&self, group: &str) -> String {
        format!("{}orchestration-{group}", self.kafka_prefix)
    }
}

/// A connection that only asks whether Kafka answers.
#[derive(Clone)]
pub struct KafkaProbe(std::sync::Arc<BaseConsumer>);

impl KafkaProbe {
    /// Opens it without waiting for Kafka.
    ///
    /// # Errors
    /// When a setting is not one of librdkafka's.
    pub fn new(config: &KafkaConfig) -> Result<Self, rdkafka::error::KafkaError> {
        Ok(Self(std::sync::Arc::new(config.client().create()?)))
    }

    /// Whether a broker answers within two seconds.
    pub async fn answers(&self) -> bool {
        let consumer = self.0.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // A name that no topic has keeps the answer small.
            consumer.fetch_metadata(Some("__orchestration_probe"), Duration::from_secs(2)).is_ok()
        });
        asked.await.unwrap_or(false)
    }
}
