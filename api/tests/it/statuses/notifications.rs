//! The statuses of notifications that depend on the state of their channel and rules.

use serde_json::{Value, json};

use super::{OperationStatuses, StatusCollector, finite_routes};
use crate::app::ApiSetup;

pub(super) async fn statuses() -> OperationStatuses {
    let mut collector = StatusCollector::with(ApiSetup::default()).await;
    let rows = finite_routes();
    let row =
        |method: &str, end: &str| rows.iter().find(|row| row.0 == method && row.1.ends_with(end)).unwrap();

    let rule = json!({"channel_id": collector.ids["{channel_id}"]});
    collector.send_valid(row("POST", "/rules"), &rule).await.expect(201);
    let many = "insert into notification_rules (id, space_id, channel_id)
        select gen_random_uuid(), space_id, channel_id from notification_rules, generate_series(1, 1000)";
    collector.test.sql(many).await;
    collector.send_valid(row("POST", "/rules"), &rule).await.expect(409);

    collector.test.sql("update notification_channels set is_active = false").await;
    collector.send_valid(row("POST", "/redeliver"), &Value::Null).await.expect(409);
    let channel = json!({"type": "email", "name": "made", "config": {"to": ["ada@example.org"]}});
    collector.send_valid(row("POST", "/channels"), &channel).await.expect(201);
    let named = json!({"name": "made"});
    collector.send_valid(row("PATCH", "/channels/{channel_id}"), &named).await.expect(409);
    collector.found
}
