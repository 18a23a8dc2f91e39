//! Channels, rules and deliveries of notifications, and the inbox.

use axum::http::Method;
use contract::ids::{ChannelId, PipelineId, RunId};
use platform::notifications::ChannelSecrets;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::keyring;
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::command_line::{command, run};
use crate::response::TestResponse;
use crate::seed::{ADMIN, EDITOR};

/// Occurs in every secret of these tests.
const CANARY: &str = "CanarySecretCanarySecret";
const SIGNING_SECRET: &str = "whsec_CanarySecretCanarySecretCanarySe";

impl TestApi {
    /// Sends a request of the admin to a path below `notifications`.
    async fn notify(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.request(method, ADMIN, &format!("/notifications{path}"), body).await
    }

    /// Creates a channel of e-mail and returns its id.
    pub(crate) async fn create_email_channel(&self, name: &str) -> String {
        let body = json!({"type": "email", "name": name, "config": {"to": ["ada@example.org"]}});
        id_of(&self.notify(Method::POST, "/channels", body).await.expect(201))
    }

    async fn create_webhook(&self) -> String {
        let body = json!({"type": "webhook", "name": "hook", "config": {"url": "https://hooks.example/a"},
            "secrets": {"signing_secret": SIGNING_SECRET}});
        id_of(&self.notify(Method::POST, "/channels", body).await.expect(201))
    }

    /// Opens the stored secrets of a channel.
    async fn secrets(&self, channel: &str, letters: &str) -> ChannelSecrets {
        let id = ChannelId(channel.parse().unwrap());
        let sealed: Vec<u8> =
            sqlx::query_scalar("select secrets_sealed from notification_channels where id = $1")
                .bind(id)
                .fetch_one(&self.db)
                .await
                .unwrap();
        ChannelSecrets::open(&keyring(letters), id, &sealed).unwrap()
    }
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

fn signing_secrets(secrets: &ChannelSecrets) -> Vec<String> {
    let ChannelSecrets::Signing { secrets } = secrets else { panic!("the channel is a webhook") };
    secrets.iter().map(|secret| secret.secret.expose_secret().to_owned()).collect()
}

/// A body for each type of channel.
fn new_channels() -> [Value; 5] {
    let url = format!("https://hooks.example/services/{CANARY}?sig={CANARY}");
    [
        json!({"type": "webhook", "name": "w", "config": {"url": "https://hooks.example/w"},
               "secrets": {"signing_secret": SIGNING_SECRET}}),
        json!({"type": "slack", "name": "s", "secrets": {"url": url}}),
        json!({"type": "teams", "name": "t", "secrets": {"url": url}, "is_active": false}),
        json!({"type": "pagerduty", "name": "p", "secrets": {"routing_key": CANARY}}),
        json!({"type": "email", "name": "e", "config": {"to": ["ada@example.org", "b@example.org"]}}),
    ]
}

#[tokio::test]
async fn channels_of_every_type_are_stored_and_their_secrets_never_shown() {
    let test = TestApi::new().await;
    for body in new_channels() {
        let created = test.notify(Method::POST, "/channels", body.clone()).await;
        let location = created.header("location").to_owned();
        let created = created.expect(201);
        assert!(location.ends_with(created["id"].as_str().unwrap()));
        assert_eq!((&created["type"], &created["signing_secret"]), (&body["type"], &Value::Null));
        assert_eq!(created["is_active"], body["type"] != "teams");
    }
    let listed = test.notify(Method::GET, "/channels", Value::Null).await.expect(200);
    let configs: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["config"].clone()).collect();
    assert_eq!(
        configs,
        [
            json!({"to": ["ada@example.org", "b@example.org"]}),
            json!({"url": "https://events.pagerduty.com/v2/enqueue"}),
            json!({"host": "hooks.example"}),
            json!({"host": "hooks.example"}),
            json!({"url": "https://hooks.example/w", "previous_secret_until": null}),
        ]
    );
    let webhook = test.id("select id from notification_channels where name = 'w'").await;
    let read = test.notify(Method::GET, &format!("/channels/{webhook}"), Value::Null).await.expect(200);
    assert_eq!(read, listed[4]);
    let audit = test.send(Method::GET, ADMIN, &format!("/spaces/{SPACE}/audit"), None).await.expect(200);
    assert_eq!(audit.as_array().unwrap().len(), 5);
    for shown in [&listed, &read, &audit] {
        assert!(!shown.to_string().contains(CANARY), "{shown}");
    }
    let stored: Vec<String> = sqlx::query_scalar(
        "select c::text || encode(coalesce(secrets_sealed, ''), 'escape') from notification_channels c",
    )
    .fetch_all(&test.db)
    .await
    .unwrap();
    assert!(!stored.concat().contains(CANARY));
    let again = test.notify(Method::POST, "/channels", new_channels()[0].clone()).await;
    assert_eq!(again.expect(409)["detail"], "The space has a channel of this name already; choose another");
}

#[tokio::test]
async fn invalid_channels_are_rejected_by_field() {
    let test = TestApi::new().await;
    for (body, field) in [
        (json!({"type": "webhook", "config": {"url": "https://x.example"}}), "body.name"),
        (json!({"type": "sms", "name": "x"}), "body.type"),
        (json!({"type": "webhook", "name": "x"}), "body.config"),
        (json!({"type": "webhook", "name": "x", "config": {"url": "ftp://x.example"}}), "body.config.url"),
        (
            json!({"type": "webhook", "name": "x", "config": {"url": "http://169.254.169.254/"}}),
            "body.config.url",
        ),
        (
            json!({"type": "webhook", "name": "x", "config": {"url": "https://x.example"},
                   "secrets": {"signing_secret": "hunter2"}}),
            "body.secrets.signing_secret",
        ),
        (json!({"type": "slack", "name": "x"}), "body.secrets"),
        (json!({"type": "teams", "name": "x", "secrets": {"url": "x"}}), "body.secrets.url"),
        (json!({"type": "pagerduty", "name": "x", "secrets": {}}), "body.secrets.routing_key"),
        (json!({"type": "email", "name": "x", "config": {"to": []}}), "body.config.to"),
        (json!({"type": "email", "name": "x", "config": {"to": ["nobody"]}}), "body.config.to"),
    ] {
        let response = test.notify(Method::POST, "/channels", body.clone()).await;
        assert_eq!(response.invalid_fields(), [field], "{body}");
    }
}

#[tokio::test]
async fn a_signing_secret_is_generated_shown_once_and_exchanged() {
    let test = TestApi::new().await;
    let body = json!({"type": "webhook", "name": "w", "config": {"url": "https://hooks.example/w"}});
    let created = test.notify(Method::POST, "/channels", body).await.expect(201);
    let first = created["signing_secret"].as_str().unwrap().to_owned();
    let path = format!("/channels/{}", id_of(&created));
    assert!(!test.notify(Method::GET, &path, Value::Null).await.expect(200).to_string().contains(&first));
    let changed = test.notify(Method::PATCH, &path, json!({"secrets": {}})).await.expect(200);
    let second = changed["signing_secret"].as_str().unwrap().to_owned();
    assert!(changed["config"]["previous_secret_until"].is_string());
    let stored = signing_secrets(&test.secrets(&id_of(&created), "a").await);
    assert_eq!(stored, [second.clone(), first]);
    // Another address keeps the secrets.
    let moved = json!({"config": {"url": "https://other.example/w"}});
    let moved = test.notify(Method::PATCH, &path, moved).await.expect(200);
    assert_eq!(
        (&moved["signing_secret"], &moved["config"]["url"]),
        (&Value::Null, &json!("https://other.example/w"))
    );
    assert!(moved["config"]["previous_secret_until"].is_string());
    let given = json!({"secrets": {"signing_secret": SIGNING_SECRET}});
    let given = test.notify(Method::PATCH, &path, given).await.expect(200);
    assert_eq!(given["signing_secret"], Value::Null);
    let stored = signing_secrets(&test.secrets(&id_of(&created), "a").await);
    assert_eq!(stored, [SIGNING_SECRET.to_owned(), second]);
}

#[tokio::test]
async fn a_routing_key_is_not_sent_to_another_origin_unnoticed() {
    let test = TestApi::new().await;
    let body = json!({"type": "pagerduty", "name": "p", "secrets": {"routing_key": CANARY}});
    let path =
        format!("/channels/{}", id_of(&test.notify(Method::POST, "/channels", body).await.expect(201)));
    let moved = json!({"config": {"url": "https://events.eu.pagerduty.com/v2/enqueue"}});
    assert_eq!(test.notify(Method::PATCH, &path, moved.clone()).await.invalid_fields(), ["body.secrets"]);
    let mut complete = moved;
    complete["secrets"] = json!({"routing_key": "other"});
    test.notify(Method::PATCH, &path, complete).await.expect(200);
    let retyped = test.notify(Method::PATCH, &path, json!({"type": "slack"})).await;
    assert_eq!(retyped.invalid_fields(), ["body.type"]);
}

#[tokio::test]
async fn the_secrets_of_channels_are_resealed_with_the_credentials() {
    let test = TestApi::new().await;
    let channel = test.create_webhook().await;
    let mut reseal = command(&test.database.url, &["credentials", "reseal"]);
    reseal.env("ORCHESTRATION_SEALING_KEYS", testkit::sealing_keys("ba"));
    let output = run(reseal).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), r#"{"resealed":1,"unchanged":0}"#);
    assert_eq!(signing_secrets(&test.secrets(&channel, "b").await), [SIGNING_SECRET]);
}

#[tokio::test]
async fn rules_are_created_changed_and_deleted() {
    let test = TestApi::new().await;
    let channel = test.create_webhook().await;
    let pipeline = test.pipeline("p").await;
    let body = json!({"channel_id": channel, "kinds": ["failing", "slow", "failing"],
        "min_criticality": "high", "team_id": test.team, "tag": "finance", "pipeline_id": pipeline});
    let created = test.notify(Method::POST, "/rules", body).await.expect(201);
    assert_eq!((&created["kinds"], &created["is_active"]), (&json!(["failing", "slow"]), &json!(true)));
    let path = format!("/rules/{}", id_of(&created));
    let patch = json!({"min_criticality": null, "kinds": null, "is_active": false});
    let changed = test.notify(Method::PATCH, &path, patch).await.expect(200);
    assert_eq!(
        (&changed["kinds"], &changed["min_criticality"], &changed["tag"], &changed["is_active"]),
        (&json!([]), &Value::Null, &json!("finance"), &json!(false))
    );
    let of_channel = format!("/rules?channel_id={channel}");
    let listed = test.notify(Method::GET, &of_channel, Value::Null).await.expect(200);
    assert_eq!(listed, json!([changed]));
    let of_no_channel = format!("/rules?channel_id={}", Uuid::nil());
    assert_eq!(test.notify(Method::GET, &of_no_channel, Value::Null).await.expect(200), json!([]));
    test.notify(Method::DELETE, &path, Value::Null).await.expect(204);
    test.notify(Method::GET, &path, Value::Null).await.expect(404);
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit where target_type = 'rule' order by at")
            .fetch_all(&test.db)
            .await
            .unwrap();
    assert_eq!(actions, ["rule.created", "rule.changed", "rule.deleted"]);
}

#[tokio::test]
async fn a_rule_names_only_what_its_space_has() {
    let test = TestApi::new().await;
    let channel = test.create_webhook().await;
    let pipeline = test.pipeline_of(test.other_connector, "theirs").await;
    let rejected = async |body: Value| {
        test.notify(Method::POST, "/rules", body).await.expect(404)["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(rejected(json!({"channel_id": channel, "team_id": test.other_team})).await, "Team not found");
    assert_eq!(rejected(json!({"channel_id": channel, "pipeline_id": pipeline})).await, "Pipeline not found");
    assert_eq!(rejected(json!({"channel_id": Uuid::nil()})).await, "Channel not found");
    let invalid = json!({"kinds": ["broken"], "min_criticality": "huge", "tag": ""});
    let invalid = test.notify(Method::POST, "/rules", invalid).await;
    assert_eq!(
        invalid.invalid_fields(),
        ["body.channel_id", "body.kinds", "body.min_criticality", "body.tag"]
    );
    // With its team, a rule goes, since without that condition it would hold for all pipelines.
    let body = json!({"channel_id": channel, "team_id": test.team});
    test.notify(Method::POST, "/rules", body).await.expect(201);
    test.send(Method::DELETE, ADMIN, &format!("/spaces/{SPACE}/teams/{}", test.team), None).await.expect(204);
    assert_eq!(test.notify(Method::GET, "/rules", Value::Null).await.expect(200), json!([]));
}

#[tokio::test]
async fn a_test_and_a_redelivery_are_enqueued_for_active_channels() {
    let test = TestApi::new().await;
    let channel = test.create_webhook().await;
    let channel_path = format!("/channels/{channel}");
    let enqueue_test = format!("{channel_path}/test");
    let enqueued = test.notify(Method::POST, &enqueue_test, Value::Null).await.expect(202);
    assert_eq!((&enqueued["change"], &enqueued["status"]), (&json!("test"), &json!("pending")));
    let redeliver = format!("{channel_path}/deliveries/{}/redeliver", id_of(&enqueued));
    test.sql(
        "insert into delivery_attempts select id, n, now(), 500, 'x', 5
             from notification_deliveries, generate_series(1, 30) n;
         update notification_deliveries set status = 'failed', next_attempt_at = null, ended_at = now(),
             attempts = 30, retries = 10, reached = '{ada@example.org}';
         update notification_channels set paused_until = now() + interval '1 hour'",
    )
    .await;
    let failed = format!("{channel_path}/deliveries?status=failed");
    let failed = test.notify(Method::GET, &failed, Value::Null).await.expect(200);
    let numbers: Vec<_> =
        failed[0]["attempts"].as_array().unwrap().iter().map(|one| &one["number"]).collect();
    assert_eq!((numbers.len(), numbers[0], &failed[0]["attempt_count"]), (20, &json!(30), &json!(30)));
    let again = test.notify(Method::POST, &redeliver, Value::Null).await.expect(202);
    assert_eq!((&again["id"], &again["status"]), (&enqueued["id"], &json!("pending")));
    let is_due =
        "select count(*) from notification_deliveries d join notification_channels c on c.id = channel_id
        where d.retries = 0 and d.next_attempt_at <= now() and c.paused_until is null and d.reached = '{}'";
    assert_eq!(test.number(is_due).await, 1);
    for _ in 0..4 {
        test.notify(Method::POST, &enqueue_test, Value::Null).await.expect(202);
    }
    test.notify(Method::POST, &enqueue_test, Value::Null).await.expect(409);
    test.notify(Method::PATCH, &channel_path, json!({"is_active": false})).await.expect(200);
    let cancelled = "select count(*) from notification_deliveries where status = 'cancelled'";
    assert_eq!(test.number(cancelled).await, 5);
    test.notify(Method::POST, &enqueue_test, Value::Null).await.expect(409);
    test.notify(Method::POST, &redeliver, Value::Null).await.expect(409);
    test.notify(Method::DELETE, &channel_path, Value::Null).await.expect(204);
    assert_eq!(test.number("select count(*) from delivery_attempts").await, 0);
}

/// Rows of every schema without missing values, by the schema's name.
pub(crate) async fn read_full_rows(
    test: &TestApi,
    pipeline: PipelineId,
    run: RunId,
) -> Vec<(&'static str, Value)> {
    let body = json!({"type": "webhook", "name": "on-call", "config": {"url": "https://hooks.example/a"}});
    let saved = test.notify(Method::POST, "/channels", body).await.expect(201);
    let channel = id_of(&saved);
    let rule = json!({"channel_id": channel, "kinds": ["failing"], "min_criticality": "high",
        "team_id": test.team, "tag": "finance", "pipeline_id": pipeline});
    let rule = test.notify(Method::POST, "/rules", rule).await.expect(201);
    let path = format!("/channels/{channel}");
    test.notify(Method::POST, &format!("{path}/test"), Value::Null).await.expect(202);
    let message = json!({"incidents": [{"id": Uuid::now_v7(), "change": "opened"}]});
    test.sql(&format!(
        "update notification_deliveries set attempts = 1, message = message || '{message}';
         insert into delivery_attempts select id, 1, now(), 503, 'The receiver answered 503.', 84
             from notification_deliveries;
         insert into inbox (id, user_id, space_id, kind, change, incident_id, pipeline_id, run_id, summary)
             select gen_random_uuid(), u.id, s.id, 'failing', 'opened', gen_random_uuid(), '{pipeline}',
                 '{run}', 'It has failed.' from users u, spaces s
             where u.name = 'Edith' and s.slug = '{SPACE}'"
    ))
    .await;
    let read = async |path: &str| test.notify(Method::GET, path, Value::Null).await.expect(200);
    let inbox = test.send(Method::GET, EDITOR, "/me/notifications", None).await.expect(200);
    vec![
        ("SavedChannel", saved),
        ("NotificationChannel", read(&path).await),
        ("NotificationRule", rule),
        ("NotificationDelivery", read(&format!("{path}/deliveries")).await[0].clone()),
        ("Notification", inbox[0].clone()),
    ]
}

#[tokio::test]
async fn lists_of_notifications_are_read_by_cursor() {
    let test = TestApi::new().await;
    for n in 0..3 {
        test.create_email_channel(&format!("channel {n}")).await;
        test.insert_notification("Ada", SPACE, &format!("entry {n}")).await;
    }
    let channels = format!("/spaces/{SPACE}/orchestration/notifications/channels");
    for path in [channels.as_str(), "/me/notifications"] {
        let page = test.send(Method::GET, ADMIN, &format!("{path}?size=2"), None).await;
        let cursor = page.header("x-next-cursor").to_owned();
        let next = test.send(Method::GET, ADMIN, &format!("{path}?size=2&cursor={cursor}"), None).await;
        let (page, next) = (page.expect(200), next.expect(200));
        assert_eq!((page.as_array().unwrap().len(), next.as_array().unwrap().len()), (2, 1), "{path}");
        assert!(!page.as_array().unwrap().contains(&next[0]));
    }
}
