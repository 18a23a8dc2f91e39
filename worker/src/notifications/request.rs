//! What a channel is sent: an HTTP request or an e-mail, made of a message and the channel's target.

use chrono::{DateTime, Utc};
use contract::ids::DeliveryId;
use platform::notifications::{ChannelSecrets, ChannelType, NotificationMessage};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::{email, pagerduty, slack, teams, webhook};

/// What is sent.
#[derive(Debug)]
pub(super) enum ChannelRequest {
    Http { url: Url, headers: Vec<(&'static str, String)>, body: String },
    Email(EmailMessage),
}

/// An e-mail, before it is encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EmailMessage {
    /// Makes the `Message-ID`.
    pub id: DeliveryId,
    /// Whom it is addressed to.
    pub to: Vec<String>,
    /// Those of them that do not have it yet.
    pub recipients: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A message to a channel.
pub(super) struct Outgoing<'a> {
    pub id: DeliveryId,
    pub message: &'a NotificationMessage,
    /// The recipients of an e-mail that have it already.
    pub reached: &'a [String],
    /// Where the links of the message lead.
    pub console: Option<&'a Url>,
    pub now: DateTime<Utc>,
}

/// Makes the request of a message.
///
/// # Errors
/// One sentence for the channel's admins, when the channel's target cannot be used.
pub(super) fn channel_request(
    outgoing: &Outgoing<'_>,
    channel_type: ChannelType,
    config: &Value,
    secrets: Option<&ChannelSecrets>,
) -> Result<ChannelRequest, String> {
    let incomplete = || "The channel is incomplete; enter its config and secrets again.".to_owned();
    match (channel_type, secrets) {
        (ChannelType::Webhook, Some(ChannelSecrets::Signing { secrets })) => {
            let url = url(config["url"].as_str().unwrap_or_default())?;
            let body = webhook::body(outgoing.message).to_string();
            let headers = webhook::headers(outgoing.id, &body, secrets, outgoing.now);
            Ok(ChannelRequest::Http { url, headers, body })
        }
        (ChannelType::Slack, Some(ChannelSecrets::Address { url: address })) => {
            post(address.expose_secret(), slack::body(outgoing.message, outgoing.console))
        }
        (ChannelType::Teams, Some(ChannelSecrets::Address { url: address })) => {
            post(address.expose_secret(), teams::body(outgoing.message, outgoing.console))
        }
        (ChannelType::Pagerduty, Some(ChannelSecrets::RoutingKey { routing_key })) => {
            let body = pagerduty::body(outgoing, routing_key.expose_secret());
            post(config["url"].as_str().unwrap_or_default(), body)
        }
        (ChannelType::Email, _) => {
            let to = config["to"].as_array().into_iter().flatten();
            let to: Vec<String> = to.filter_map(|to| to.as_str().map(ToOwned::to_owned)).collect();
            if to.is_empty() {
                return Err(incomplete());
            }
            Ok(ChannelRequest::Email(email::render(outgoing, to)))
        }
        _ => Err(incomplete()),
    }
}

fn post(address: &str, body: Value) -> Result<ChannelRequest, String> {
    Ok(ChannelRequest::Http { url: url(address)?, headers: Vec::new(), body: body.to_string() })
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|_| "The channel's URL is invalid; enter it again.".to_owned())
}
