//! Syncs that were not requested over the API are in the audit log too, with the channel of the request.

use contract::events::SyncRequested;
use contract::ids::SyncId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn sync_requests_over_kafka_and_the_command_line_are_audited_once() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let request = SyncRequested {
        id: SyncId(Uuid::now_v7()),
        connector_id: test.connector,
        full: true,
        accept_mass_deletion: true,
        space: "test".to_owned(),
        observed_at: chrono::Utc::now(),
    };
    test.send(&[request.clone(), request.clone()]).await;
    test.wait_for("select count(*) = 1 from audit where via = 'kafka'").await;
    // The sync fails, since nothing listens at the connector's address: its request is audited even so.
    test.run_failing_command(&["sync", &test.connector.to_string()]).await;
    let audit: Vec<(String, String, Uuid, Option<Uuid>, Value)> =
        sqlx::query_as("select via, action, target_id, actor_id, details - 'sync_id' from audit order by at")
            .fetch_all(&test.pool)
            .await
            .unwrap();
    let entry = |via: &str, details: Value| {
        (via.to_owned(), "connector.sync_requested".to_owned(), test.connector.0, None, details)
    };
    assert_eq!(
        audit,
        [
            entry("kafka", json!({"full": true, "accept_mass_deletion": true})),
            entry("cli", json!({"full": false, "accept_mass_deletion": false})),
        ]
    );
}
