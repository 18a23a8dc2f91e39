//! Names for the topics of one test. What tests left long ago is deleted, or the broker would drown in it.

use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// No test takes so long.
const KEEP: Duration = Duration::from_secs(1800);
const PATIENCE: Duration = Duration::from_secs(60);

/// A prefix that no other test has.
pub async fn test_prefix(kafka: &str) -> String {
    static CLEAN: OnceCell<()> = OnceCell::const_new();
    CLEAN.get_or_init(|| delete_old(kafka)).await;
    format!("test-{}.", Uuid::now_v7().simple())
}

async fn delete_old(kafka: &str) {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    let metadata = client.inner().fetch_metadata(None, PATIENCE).unwrap();
    let names: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
    let old: Vec<&str> = names.into_iter().filter(|name| is_old(name)).collect();
    if !old.is_empty() {
        // Another test program may delete the same ones just now.
        let _ =
            client.delete_topics(&old, &AdminOptions::new().request_timeout(Some(PATIENCE))).await.unwrap();
    }
}

/// Whether its name tells that it was made long ago.
fn is_old(name: &str) -> bool {
    let id = name.strip_prefix("test-").and_then(|rest| rest.split('.').next());
    let made = id.and_then(|id| Uuid::parse_str(id).ok()?.get_timestamp());
    let long_ago = SystemTime::now() - KEEP;
    made.is_some_and(|made| SystemTime::UNIX_EPOCH + Duration::from_secs(made.to_unix().0) < long_ago)
}
