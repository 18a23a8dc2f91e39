//! Which channels are notified of which incidents, and when.

use serde_json::json;
use uuid::Uuid;
use worker::notifications::dispatch;

use super::{NotificationTest, signing};

const NOWHERE: &str = "http://127.0.0.1:1/";

#[tokio::test]
async fn rules_choose_channels_by_every_condition() {
    let test = NotificationTest::new().await;
    let sales = test.pipeline("sales", "finance", Some("high")).await;
    let stock = test.pipeline("stock", "goods", None).await;
    test.sql(&format!(
        "insert into teams (id, space_id, name) values (gen_random_uuid(), '{0}', 'Ours');
         update pipeline_governance set team_id = (select id from teams)",
        test.space
    ))
    .await;
    let mut chosen = Vec::new();
    for (condition, expected) in [
        ("kinds = '{}'", "opened sales, opened stock"),
        ("kinds = '{slow}'", "opened stock"),
        ("kinds = '{late_start,failing}'", "opened sales"),
        ("min_criticality = 'medium'", "opened sales"),
        ("min_criticality = 'critical'", ""),
        ("tag = 'goods'", "opened stock"),
        ("team_id = (select id from teams)", "opened sales"),
        ("pipeline_id = (select id from pipelines where name = 'stock')", "opened stock"),
        ("tag = 'finance', kinds = '{slow}'", ""),
        ("is_active = false", ""),
    ] {
        let secrets = Some(signing(&[super::SIGNING_SECRET]));
        let channel = test.channel_without_rule("webhook", json!({ "url": NOWHERE }), secrets).await;
        test.rule(channel, condition).await;
        chosen.push((channel, condition, expected));
    }
    test.incident(sales, "failing").await;
    test.incident(stock, "slow").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    for (channel, condition, expected) in chosen {
        assert_eq!(test.messages(channel).await.join(" / "), expected, "{condition}");
    }
    assert_eq!(test.number("select count(*) from incident_changes").await, 0);
}

#[tokio::test]
async fn a_channel_of_another_space_is_not_notified() {
    let test = NotificationTest::new().await;
    let other = testkit::create_space(&test.db, "other").await;
    let channel = test.webhook(NOWHERE).await;
    test.sql(&format!(
        "update notification_channels set space_id = '{other}';
         update notification_rules set space_id = '{other}'"
    ))
    .await;
    test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.messages(channel).await, [""; 0]);
}

#[tokio::test]
async fn a_burst_is_one_message_and_one_event_each_where_events_are_grouped_by_the_receiver() {
    let test = NotificationTest::new().await;
    let webhook = test.webhook(NOWHERE).await;
    let pagerduty = test.channel("pagerduty", json!({ "url": NOWHERE }), None).await;
    for name in ["a", "b", "c"] {
        test.incident(test.pipeline(name, "x", None).await, "failing").await;
    }
    test.dispatch().await;
    assert_eq!(test.messages(webhook).await, [""; 0], "others may join for 30 seconds");
    test.dispatch_after("20 seconds").await;
    test.incident(test.pipeline("d", "x", None).await, "slow").await;
    test.dispatch_after("11 seconds").await;
    assert_eq!(test.messages(webhook).await, ["opened a, opened b, opened c, opened d"]);
    let mut events = test.messages(pagerduty).await;
    events.sort();
    assert_eq!(events, ["opened a", "opened b", "opened c", "opened d"]);
}

#[tokio::test]
async fn an_incident_is_updated_repeated_acknowledged_and_resolved() {
    let test = NotificationTest::new().await;
    let channel = test.webhook(NOWHERE).await;
    let incident = test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    test.record_delivered().await;
    test.change(incident, "counted").await;
    test.change(incident, "counted").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.messages(channel).await, ["opened sales"], "an update waits for five minutes");
    test.dispatch_after("5 minutes").await;
    assert_eq!(test.messages(channel).await, ["opened sales", "updated sales"]);
    test.record_delivered().await;
    test.dispatch_after("239 minutes").await;
    assert_eq!(test.messages(channel).await.len(), 2);
    test.dispatch_after("2 minutes").await;
    assert_eq!(test.messages(channel).await[2], "repeated sales");
    test.change(incident, "acknowledged").await;
    test.dispatch().await;
    assert_eq!(test.messages(channel).await[3], "acknowledged sales");
    test.change(incident, "counted").await;
    test.dispatch().await;
    test.dispatch_after("1 day").await;
    assert_eq!(test.messages(channel).await.len(), 4, "an acknowledged incident is not repeated");
    test.change(incident, "resolved").await;
    test.dispatch().await;
    assert_eq!(test.messages(channel).await[4], "resolved sales");
    test.dispatch_after("1 day").await;
    test.change(incident, "reopened").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.messages(channel).await[5..], ["reopened sales"]);
    let ids = "select count(distinct id) from notification_deliveries";
    assert_eq!(test.number(ids).await, 6, "each message has an id of its own");
}

#[tokio::test]
async fn only_channels_that_were_notified_of_an_incident_are_notified_of_its_end() {
    let test = NotificationTest::new().await;
    let first = test.webhook(NOWHERE).await;
    let incident = test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    let second = test.webhook(NOWHERE).await;
    test.sql(
        "delete from notification_rules where channel_id <> (
             select max(id::text)::uuid from notification_channels)",
    )
    .await;
    test.change(incident, "resolved").await;
    let short = test.incident(test.pipeline("short", "x", None).await, "slow").await;
    test.dispatch().await;
    test.change(short, "resolved").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.messages(first).await, ["opened sales", "resolved sales"]);
    assert_eq!(test.messages(second).await, [""; 0], "what ended within 30 seconds is not reported");
}

#[tokio::test]
async fn a_muted_incident_is_reported_after_the_mute_alone() {
    let test = NotificationTest::new().await;
    let channel = test.webhook(NOWHERE).await;
    let incident = test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.sql("update incidents set muted_until = now() + interval '1 hour'").await;
    test.change(incident, "muted").await;
    test.dispatch().await;
    test.dispatch_after("40 minutes").await;
    assert_eq!(test.messages(channel).await, [""; 0]);
    test.dispatch_after("21 minutes").await;
    assert_eq!(test.messages(channel).await, ["opened sales"]);
}

#[tokio::test]
async fn what_a_connector_that_is_switched_off_reported_is_repeated_when_it_is_on_again() {
    let test = NotificationTest::new().await;
    let channel = test.webhook(NOWHERE).await;
    test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    test.record_delivered().await;
    test.incident(test.pipeline("stock", "x", None).await, "slow").await;
    test.dispatch().await;
    test.sql("update connectors set is_active = false").await;
    for _ in 0..3 {
        test.dispatch_after("10 hours").await;
    }
    assert_eq!(test.messages(channel).await, ["opened sales"]);
    test.sql("update connectors set is_active = true").await;
    test.dispatch_after("6 minutes").await;
    assert_eq!(test.messages(channel).await, ["opened sales", "repeated sales, opened stock"]);
}

#[tokio::test]
async fn a_stale_connector_is_reported_whatever_the_criticality() {
    let test = NotificationTest::new().await;
    let channel = test.channel_without_rule("webhook", json!({ "url": NOWHERE }), None).await;
    test.rule(channel, "min_criticality = 'critical'").await;
    let id = Uuid::now_v7();
    test.sql(&format!(
        "insert into incidents (id, space_id, connector_id, kind, opened_at, summary, evidence)
         values ('{id}', '{}', '{}', 'connector_stale', now(), 'Not synced.', '{{}}')",
        test.space, test.connector
    ))
    .await;
    test.change(id, "opened").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.messages(channel).await, ["opened connector"]);
}

#[tokio::test]
async fn workers_dispatch_one_at_a_time_and_each_change_once() {
    let test = NotificationTest::new().await;
    let channel = test.webhook(NOWHERE).await;
    let pipeline = test.pipeline("sales", "x", None).await;
    test.incident(pipeline, "failing").await;
    test.dispatch().await;
    test.sql("update notification_threads set due_at = now()").await;
    let dispatches = (0..8).map(|_| dispatch(&test.worker));
    for result in futures::future::join_all(dispatches).await {
        result.unwrap();
    }
    test.dispatch().await;
    assert_eq!(test.messages(channel).await, ["opened sales"]);
    // A worker that is killed before its commit leaves everything as it was.
    test.incident(pipeline, "slow").await;
    let mut lock = test.db.begin().await.unwrap();
    sqlx::query("lock table inbox in access exclusive mode").execute(&mut *lock).await.unwrap();
    let killed = tokio::time::timeout(std::time::Duration::from_millis(500), dispatch(&test.worker)).await;
    assert!(killed.is_err(), "it waits for the lock");
    lock.rollback().await.unwrap();
    let is_dispatched = "select count(*) = 0 from incident_changes";
    testkit::eventually("the change is dispatched", std::time::Duration::from_secs(60), async || {
        test.dispatch().await;
        sqlx::query_scalar::<_, bool>(is_dispatched).fetch_one(&test.db).await.unwrap()
    })
    .await;
    assert_eq!(test.number("select count(*) from notification_threads").await, 2);
}
