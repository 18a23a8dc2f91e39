//! Kafka: settings, topics and the producer. The messages are defined by `contract::events`; consumers belong
//! to the binaries.

pub mod native;
mod options;
mod producer;
mod topics;

use std::time::Duration;

use clap::Args;
pub use options::KafkaOptions;
pub use producer::{Producer, SendError, SendReport};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
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
        value_parser = KafkaOptions::parser()
    )]
    pub kafka_options: KafkaOptions,

    /// File with additional librdkafka settings of all clients, a name=value pair on each line, for values
    /// that contain commas
    #[arg(long, env = "ORCHESTRATION_KAFKA_OPTIONS_FILE", value_parser = KafkaOptions::file_parser())]
    pub kafka_options_file: Option<KafkaOptions>,
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
        for (name, value) in self.options() {
            client.set(name, value);
        }
        client
    }

    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kafka_options.pairs().chain(self.kafka_options_file.iter().flat_map(KafkaOptions::pairs))
    }

    /// Checks the additional settings.
    ///
    /// # Errors
    /// When librdkafka rejects one of them.
    pub fn check(&self) -> Result<(), RejectedKafkaOption> {
        let Err(error) = self.client().create_native_config() else { return Ok(()) };
        let place = match &error {
            KafkaError::ClientConfig(_, _, name, _) => self.options().position(|(other, _)| other == name),
            _ => None,
        };
        let place = place.map_or("one".to_owned(), |index| format!("number {}", index + 1));
        Err(RejectedKafkaOption { place })
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

/// The error of an additional setting. It shows neither the name nor the value: a password with a comma is
/// split into both.
#[derive(Debug, thiserror::Error)]
#[error(
    "librdkafka rejects {place} of the settings in ORCHESTRATION_KAFKA_OPTIONS and \
     ORCHESTRATION_KAFKA_OPTIONS_FILE: its name is unknown, or its value not possible"
)]
pub struct RejectedKafkaOption {
    place: String,
}

/// A connection for readiness checks.
#[derive(Clone)]
pub struct KafkaProbe(std::sync::Arc<BaseConsumer>);

impl KafkaProbe {
    /// Opens the connection without waiting for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a setting.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
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
