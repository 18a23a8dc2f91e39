//! What messages say, in the form of each type of channel.

use chrono::DateTime;
use contract::ids::{DeliveryId, PipelineId, RunId};
use contract::state::Criticality;
use platform::notifications::{
    ChannelSecrets, ChannelType, IncidentFacts, MessageChange, NotificationMessage, PipelineFacts,
    SigningSecret,
};
use serde_json::{Value, json};
use strum::VariantArray;
use url::Url;
use uuid::Uuid;

use super::request::{ChannelRequest, Outgoing, channel_request};

const ID: DeliveryId = DeliveryId(Uuid::from_u128(7));

fn incident(number: u128, change: MessageChange) -> IncidentFacts {
    let pipeline =
        PipelineFacts { id: PipelineId(Uuid::from_u128(number)), name: format!("sales <{number}>") };
    IncidentFacts {
        id: Uuid::from_u128(100 + number),
        change,
        kind: "failing".to_owned(),
        status: "open".to_owned(),
        pipeline: Some(pipeline),
        connector_name: "prod & test".to_owned(),
        criticality: Some(Criticality::High),
        opened_at: DateTime::UNIX_EPOCH,
        resolved_at: None,
        acknowledged_by: None,
        count: 1,
        last_run_id: Some(RunId(Uuid::nil())),
        summary: "The *latest* run has\nfailed.".to_owned(),
    }
}

fn stale_connector() -> IncidentFacts {
    IncidentFacts {
        kind: "connector_stale".to_owned(),
        pipeline: None,
        criticality: None,
        change: MessageChange::Repeated,
        ..incident(9, MessageChange::Opened)
    }
}

fn message(incidents: Vec<IncidentFacts>) -> NotificationMessage {
    NotificationMessage { space: "finance".to_owned(), at: DateTime::UNIX_EPOCH, incidents }
}

fn several() -> NotificationMessage {
    let resolved = IncidentFacts {
        resolved_at: Some(DateTime::UNIX_EPOCH),
        count: 3,
        ..incident(2, MessageChange::Resolved)
    };
    let acknowledged =
        IncidentFacts { acknowledged_by: Some("Ada".to_owned()), ..incident(3, MessageChange::Acknowledged) };
    message(vec![incident(1, MessageChange::Opened), resolved, acknowledged, stale_connector()])
}

fn outgoing<'a>(message: &'a NotificationMessage, console: Option<&'a Url>) -> Outgoing<'a> {
    Outgoing { id: ID, message, reached: &[], console, now: DateTime::UNIX_EPOCH }
}

/// What a channel of this type is sent, as text.
fn rendered(channel_type: ChannelType, message: &NotificationMessage) -> String {
    let console: Url = "https://orchestration.example/base/".parse().unwrap();
    let outgoing = outgoing(message, Some(&console));
    let (config, secrets) = match channel_type {
        ChannelType::Webhook => (json!({"url": "https://hooks.example/a"}), Some(signing())),
        ChannelType::Slack | ChannelType::Teams => {
            let url = "https://hooks.example/b?sig=c".into();
            (Value::Null, Some(ChannelSecrets::Address { url }))
        }
        ChannelType::Pagerduty => {
            let secrets = ChannelSecrets::RoutingKey { routing_key: "the key".into() };
            (json!({"url": "https://events.example/"}), Some(secrets))
        }
        ChannelType::Email => (json!({"to": ["ada@example.org"]}), None),
    };
    match channel_request(&outgoing, channel_type, &config, secrets.as_ref()).unwrap() {
        ChannelRequest::Email(email) => {
            format!("To: {:?}\nSubject: {}\n\n{}\n----\n{}", email.to, email.subject, email.text, email.html)
        }
        ChannelRequest::Http { url, headers, body } => {
            let body: Value = serde_json::from_str(&body).unwrap();
            format!("{url}\n{headers:?}\n{body:#}")
        }
    }
}

fn signing() -> ChannelSecrets {
    let secret = |secret: &str, valid_until| SigningSecret { secret: secret.into(), valid_until };
    let later = DateTime::from_timestamp(60, 0);
    let secrets = vec![
        secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None),
        secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", later),
        secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some(DateTime::UNIX_EPOCH)),
    ];
    ChannelSecrets::Signing { secrets }
}

#[test]
fn a_webhook_holds_the_facts_and_a_signature_of_each_valid_secret() {
    let one = message(vec![incident(1, MessageChange::Opened)]);
    insta::assert_snapshot!(rendered(ChannelType::Webhook, &one));
}

#[test]
fn slack_gets_blocks_and_a_text() {
    insta::assert_snapshot!(rendered(ChannelType::Slack, &several()));
}

#[test]
fn teams_gets_a_card() {
    insta::assert_snapshot!(rendered(ChannelType::Teams, &several()));
}

#[test]
fn pagerduty_gets_an_event_under_the_id_of_the_incident() {
    let events = [
        incident(1, MessageChange::Opened),
        incident(1, MessageChange::Acknowledged),
        incident(1, MessageChange::Resolved),
        stale_connector(),
    ];
    let events = events.map(|incident| rendered(ChannelType::Pagerduty, &message(vec![incident])));
    insta::assert_snapshot!(events.join("\n\n"));
}

#[test]
fn an_email_says_the_same_in_both_parts() {
    insta::assert_snapshot!(rendered(ChannelType::Email, &several()));
}

#[test]
fn a_test_says_what_it_is_in_every_form() {
    let tests = ChannelType::VARIANTS.iter().map(|kind| rendered(*kind, &message(Vec::new())));
    insta::assert_snapshot!(tests.collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn a_large_message_names_twenty_incidents() {
    let many = message((0..50).map(|number| incident(number, MessageChange::Opened)).collect());
    let slack: Value =
        serde_json::from_str(rendered(ChannelType::Slack, &many).split_once("[]\n").unwrap().1).unwrap();
    // A message of Slack has at most 50 blocks.
    assert_eq!(slack["blocks"].as_array().unwrap().len(), 1 + 2 * 20 + 1);
    assert_eq!(slack["text"], "50 incidents in finance: 50 opened");
    for kind in [ChannelType::Slack, ChannelType::Teams, ChannelType::Email] {
        assert!(rendered(kind, &many).contains("And 30 more."), "{kind}");
    }
}

#[test]
fn a_long_text_is_shortened() {
    let mut long = incident(1, MessageChange::Opened);
    long.summary = "é".repeat(100_000);
    let text = rendered(ChannelType::Slack, &message(vec![long]));
    assert!(text.len() < 3_000, "{}", text.len());
}

#[test]
fn a_channel_without_its_secrets_is_described_to_its_admins() {
    let message = message(Vec::new());
    let error =
        channel_request(&outgoing(&message, None), ChannelType::Slack, &Value::Null, None).unwrap_err();
    assert_eq!(error, "The channel is incomplete; enter its config and secrets again.");
}
