//! Topics of one test, under a prefix that no other test has. Topics of tests that ended long ago are
//! deleted, so that their number on the broker stays bounded.

use std::time::{Duration, SystemTime};

use platform::kafka::{KafkaConfig, KafkaOptions, TopicError, ensure_topics};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::sync::OnceCell;
use uuid::Uuid;

use local::eventually;

/// Topics older than this are deleted; every test is shorter.
const MAX_AGE: Duration = Duration::from_secs(1800);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Kafka's settings with a topic prefix of the test's own; the topics themselves are not created yet.
pub async fn test_topics(servers: &str) -> KafkaConfig {
    static CLEANED: OnceCell<()> = OnceCell::const_new();
    CLEANED.get_or_init(|| delete_old_topics(servers)).await;
    kafka_config(servers, &format!("test-{}.", Uuid::now_v7().simple()))
}

/// Kafka's settings with this topic prefix, and two partitions a topic.
pub fn kafka_config(servers: &str, prefix: &str) -> KafkaConfig {
    KafkaConfig {
        kafka_bootstrap_servers: servers.to_owned(),
        kafka_prefix: prefix.to_owned(),
        kafka_partitions: 2,
        kafka_replication: 1,
        kafka_options: KafkaOptions::default(),
        kafka_options_file: None,
    }
}

/// Creates the topics of the contract, and waits until Kafka describes them.
pub async fn create_topics(config: &KafkaConfig) {
    let are_created = async || match ensure_topics(config).await {
        Ok(()) => true,
        Err(TopicError::NotVisible { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    eventually("the topics are created", TIMEOUT, are_created).await;
}

#[expect(clippy::disallowed_methods, reason = "the fixture's own client, for any test's prefix")]
async fn delete_old_topics(servers: &str) {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let metadata = client.inner().fetch_metadata(None, TIMEOUT).unwrap();
    let names: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
    let old: Vec<&str> = names.into_iter().filter(|name| is_old(name)).collect();
    if !old.is_empty() {
        // Errors of single topics are ignored: another test program may delete the same ones at this moment.
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let _ = client.delete_topics(&old, &options).await.unwrap();
    }
}

/// Whether a test created the topic longer than [`MAX_AGE`] ago, according to its prefix.
fn is_old(topic: &str) -> bool {
    let id = topic.strip_prefix("test-").and_then(|rest| rest.split('.').next());
    let created = id.and_then(|id| Uuid::parse_str(id).ok()?.get_timestamp());
    let oldest = SystemTime::now() - MAX_AGE;
    created.is_some_and(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at.to_unix().0) < oldest)
}
