//! The documented errors of Slack and PagerDuty: which messages are sent again, and what the log of
//! deliveries says.

use contract::ids::ChannelId;
use platform::notifications::ChannelSecrets;
use serde_json::json;

use super::receiver::{Answer, FakeReceiver};
use super::{NotificationTest, address};

const ROUTING_KEY: &str = "e93facc04764012d7bfb002500d5d1a6";
/// The secret part of the address of an incoming webhook.
const SLACK_PATH: &str = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";

/// Errors of incoming webhooks
/// (<https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>), and the status of
/// the delivery afterwards.
const SLACK: [(u16, &str, &str); 8] = [
    (400, "invalid_payload", "failed"),
    (400, "user_not_found", "failed"),
    (403, "action_prohibited", "pending"),
    (403, "posting_to_general_channel_denied", "pending"),
    (404, "channel_not_found", "pending"),
    (404, "no_service", "pending"),
    (410, "channel_is_archived", "failed"),
    (500, "rollup_error", "pending"),
];

/// Errors of Events API v2, with the bodies that it answers.
const PAGERDUTY: [(u16, &str, &str); 5] = [
    (
        400,
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["severity is invalid"]}"#,
        "failed",
    ),
    (413, r#"{"status":"invalid event","message":"Event object is too large"}"#, "failed"),
    (429, r#"{"status":"throttle exceeded","message":"Requests are arriving too quickly."}"#, "pending"),
    (500, "Internal Server Error", "pending"),
    (503, "", "pending"),
];

impl NotificationTest {
    async fn service(&self, channel_type: &str, url: &str) -> ChannelId {
        let (config, secrets) = match channel_type {
            "pagerduty" => {
                (json!({ "url": url }), ChannelSecrets::RoutingKey { routing_key: ROUTING_KEY.into() })
            }
            _ => (json!({"host": "127.0.0.1"}), address(&url.replace("/hook", SLACK_PATH))),
        };
        self.channel_without_rule(channel_type, config, Some(secrets)).await
    }

    /// Sends a message to a channel of this type whose receiver answers so. Returns the channel, and the
    /// status of the delivery with the code and error of the attempt.
    async fn delivery_after(&self, channel_type: &str, answer: Answer) -> (ChannelId, String) {
        let receiver = FakeReceiver::start(answer).await;
        let channel = self.service(channel_type, &receiver.url).await;
        self.enqueue(channel).await;
        self.deliverer().deliver_due().await.unwrap();
        let ended = format!(
            "select concat_ws(' ', d.status, a.code, a.error)
             from notification_deliveries d join delivery_attempts a on a.delivery_id = d.id
             where d.channel_id = '{channel}'"
        );
        let [ended] = self.texts(&ended).await.try_into().expect("one attempt");
        (channel, ended)
    }

    async fn is_active(&self, channel: ChannelId) -> bool {
        let active = "select count(*) from notification_channels where is_active and id";
        self.number(&format!("{active} = '{channel}'")).await == 1
    }
}

#[tokio::test]
async fn documented_errors_fail_a_message_or_are_retried_and_their_words_are_logged() {
    let test = NotificationTest::new().await;
    let slack = SLACK.map(|error| ("slack", error));
    let pagerduty = PAGERDUTY.map(|error| ("pagerduty", error));
    for (channel_type, (status, body, expected)) in slack.into_iter().chain(pagerduty) {
        let (channel, ended) = test.delivery_after(channel_type, Answer::Body(status, body)).await;
        let words = if body.is_empty() { ".".to_owned() } else { format!(": {body}") };
        assert_eq!(ended, format!("{expected} {status} The receiver answered {status}{words}"));
        assert_eq!(test.is_active(channel).await, status != 410, "{channel_type} {body}");
        let waits = "select count(*) from notification_deliveries where next_attempt_at > now()";
        let waits = test.number(&format!("{waits} and channel_id = '{channel}'")).await == 1;
        assert_eq!(waits, expected == "pending", "{channel_type} {body}");
    }
}

#[tokio::test]
async fn a_service_that_is_sent_too_much_gets_nothing_until_its_retry_after_has_passed() {
    let test = NotificationTest::new().await;
    for channel_type in ["slack", "teams", "pagerduty"] {
        let (channel, ended) = test.delivery_after(channel_type, Answer::RetryAfter(90)).await;
        assert_eq!(ended, "pending 429 The receiver answered 429: rate_limited");
        let paused = format!(
            "select count(*) from notification_channels c
             join notification_deliveries d on d.channel_id = c.id
             where c.id = '{channel}'
                 and least(c.paused_until, d.next_attempt_at) > now() + interval '60 seconds'"
        );
        assert_eq!(test.number(&paused).await, 1);
    }
}

#[tokio::test]
async fn a_webhook_that_answers_400_is_tried_again() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(400)).await;
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    for _ in 0..2 {
        test.deliverer().deliver_due().await.unwrap();
        test.make_due().await;
    }
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn the_log_of_deliveries_shows_no_secret_that_a_receiver_repeats() {
    let test = NotificationTest::new().await;
    let words = "no integration with routing key e93facc04764012d7bfb002500d5d1a6";
    let (_, ended) = test.delivery_after("pagerduty", Answer::Body(400, words)).await;
    assert_eq!(ended, "failed 400 The receiver answered 400: no integration with routing key ***");
    let words = "no_service at /services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
    let (_, ended) = test.delivery_after("slack", Answer::Body(404, words)).await;
    assert_eq!(ended, "pending 404 The receiver answered 404: no_service at ***");
}
