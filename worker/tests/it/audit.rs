//! Syncs that nobody asked the API for stand in the audit trail too, with the way they were asked.

use contract::events::SyncRequested;
use contract::ids::SyncId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::Stage;
use crate::worker_process::command;

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_asked_for_over_kafka_or_at_a_terminal_is_told_once() {
    let stage = Stage::empty().await;
    stage.parts.start_requests();
    let wish = SyncRequested {
        id: SyncId(Uuid::now_v7()),
        connector_id: stage.connector,
        full: true,
        accept_mass_deletion: true,
        space: "test".to_owned(),
        observed_at: chrono::Utc::now(),
    };
    stage.send(&[wish.clone(), wish.clone()]).await;
    stage.until("select count(*) = 1 from audit where via = 'kafka'").await;
    // The connector leads nowhere: that it was asked for is told all the same.
    let output = command(&stage).args(["sync", &stage.connector.to_string()]).output().unwrap();
    assert!(!output.status.success());
    let told: Vec<(String, String, Uuid, Option<Uuid>, Value)> =
        sqlx::query_as("select via, action, target_id, actor_id, details - 'sync_id' from audit order by at")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    let entry = |via: &str, wish: Value| {
        (via.to_owned(), "connector.sync_requested".to_owned(), stage.connector.0, None, wish)
    };
    assert_eq!(
        told,
        [
            entry("kafka", json!({"full": true, "accept_mass_deletion": true})),
            entry("cli", json!({"full": false, "accept_mass_deletion": false})),
        ]
    );
}
