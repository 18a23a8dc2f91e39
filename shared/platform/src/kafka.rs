//! Kafka: settings, topics and the producer. The messages are defined by `contract::events`; consumers belong
//! to the binaries.

mod producer;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
pub use producer::{Producer, SendError, SendReport};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use secrecy::{ExposeSecret, SecretString};
pub use topics::{TopicError, ensure_topics};

use contract::events::Topic;

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How to reach Kafka, and how to create its topics.
#[derive(Args, Clone, Debug)]
pub struct KafkaConfig {
    /// Kafka bootstrap servers, host:port pairs separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,

    /// Prefix of all topics and consumer groups, for several installations on one Kafka cluster
    #[arg(long, env = "ORCHESTRATION_KAFKA_PREFIX", default_value = "", hide_default_value = true)]
    pub kafka_prefix: String,

    /// Number of partitions of a new topic
    #[arg(
        long,
        env = "ORCHESTRATION_KAFKA_PARTITIONS",
        default_value_t = 6,
        value_parser = clap::value_parser!(i32).range(1..=1000)
    )]
    pub kafka_partitions: i32,

    /// Number of replicas of a new topic
    #[arg(
        long,
        env = "ORCHESTRATION_KAFKA_REPLICATION",
        default_value_t = 1,
        value_parser = clap::value_parser!(i32).range(1..=10)
    )]
    pub kafka_replication: i32,

    /// Additional librdkafka settings of all clients, name=value pairs separated by commas
    /// (security.protocol, sasl.username, …)
    #[arg(
        long,
        env = "ORCHESTRATION_KAFKA_OPTIONS",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_parser = parse_options
    )]
    pub kafka_options: KafkaOptions,
}

/// Settings that are passed to librdkafka unchanged. They may contain a password.
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
    /// The client configuration common to producers and consumers.
    #[expect(clippy::disallowed_methods, reason = "every other client configuration is made from this one")]
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.kafka_bootstrap_servers)
            .set("client.id", "orchestration")
            // A broker that is gone without a word is noticed within half a minute.
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", "30000");
        for (name, value) in &self.kafka_options.0 {
            client.set(name, value.expose_secret());
        }
        client
    }

    /// The name of a topic on this cluster.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.kafka_prefix)
    }

    /// The name of a consumer group on this cluster.
    pub fn group(&self, group: &str) -> String {
        format!("{}orchestration-{group}", self.kafka_prefix)
    }
}

/// A connection for readiness checks.
#[derive(Clone)]
pub struct KafkaProbe(std::sync::Arc<BaseConsumer>);

impl KafkaProbe {
    /// Opens the connection without waiting for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a setting.
    pub fn new(config: &KafkaConfig) -> Result<Self, rdkafka::error::KafkaError> {
        Ok(Self(std::sync::Arc::new(config.client().create()?)))
    }

    /// Whether a broker responds within two seconds.
    pub async fn is_reachable(&self) -> bool {
        let consumer = self.0.clone();
        let responds = tokio::task::spawn_blocking(move || {
            // Metadata of a topic that does not exist keeps the response small.
            consumer.fetch_metadata(Some("__orchestration_probe"), PROBE_TIMEOUT).is_ok()
        });
        responds.await.unwrap_or(false)
    }
}
