//! Sends one message to one channel, and says how it went.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use platform::notifications::{ChannelSecrets, ChannelType};
use platform::secrets::Keyring;
use provider::{NetworkPolicy, ReceiverResponse, Receivers};
use secrecy::ExposeSecret;
use url::Url;

use super::request::{ChannelRequest, EmailMessage, Outgoing, channel_request};
use super::smtp::{SentEmail, SmtpConfig, SmtpSender};
use crate::store::notification_channels::LeasedChannel;
use crate::store::notification_deliveries::DueDelivery;

/// The maximum number of characters of a receiver's own words in an error.
const MAX_ANSWER: usize = 200;
/// A shorter part of an address is no secret.
const MIN_REDACTED: usize = 8;
const BAD_REQUEST: u16 = 400;
const GONE: u16 = 410;
const TOO_LARGE: u16 = 413;

/// The settings of what notifications are sent with.
#[derive(Args, Clone, Debug)]
pub struct SenderConfig {
    /// Address at which browsers reach the console, such as `https://orchestration.example.org`: the links of
    /// notifications lead there; without it, they have none
    #[arg(long, env = "ORCHESTRATION_PUBLIC_URL")]
    pub public_url: Option<Url>,

    /// PEM file with certificates of private authorities that the receivers of notifications use, besides the
    /// authorities that the system trusts
    #[arg(long, env = "ORCHESTRATION_NOTIFICATIONS_CA_FILE")]
    pub notifications_ca_file: Option<PathBuf>,

    #[command(flatten)]
    pub smtp: SmtpConfig,
}

/// What all channels are sent with.
pub struct Sender {
    keyring: Keyring,
    receivers: Receivers,
    smtp: Option<SmtpSender>,
    console: Option<Url>,
}

/// How an attempt went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SendResult {
    /// The status of the response.
    pub code: Option<u16>,
    /// None when the message was delivered to all recipients.
    pub error: Option<String>,
    /// The recipients of an e-mail that have it since this attempt.
    pub reached: Vec<String>,
    /// Whether the message was delivered to all recipients that can be reached.
    pub is_delivered: bool,
    /// The wait that the receiver asks for.
    pub retry_after: Option<Duration>,
    /// The receiver wants no more messages.
    pub is_gone: bool,
    /// The receiver will never accept this message.
    pub is_refused: bool,
}

impl SendResult {
    fn failed(code: Option<u16>, error: String) -> Self {
        Self { code, error: Some(error), ..Self::default() }
    }

    /// Any status of success is a delivery.
    fn of_response(channel_type: ChannelType, response: &ReceiverResponse) -> Self {
        let ReceiverResponse { status, retry_after, body } = response;
        let is_delivered = (200..300).contains(status);
        // What a webhook means by these is not known.
        let is_service = channel_type != ChannelType::Webhook;
        Self {
            code: Some(*status),
            error: (!is_delivered).then(|| refusal(*status, body)),
            is_delivered,
            retry_after: retry_after.filter(|_| !is_delivered),
            is_gone: *status == GONE,
            is_refused: is_service && [BAD_REQUEST, TOO_LARGE].contains(status),
            ..Self::default()
        }
    }
}

impl Sender {
    /// Opens no connection.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(keyring: Keyring, network: NetworkPolicy, config: &SenderConfig) -> anyhow::Result<Self> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| {
                format!("ORCHESTRATION_NOTIFICATIONS_CA_FILE {} cannot be read", path.display())
            })
        };
        let authorities = config.notifications_ca_file.as_ref().map(read).transpose()?;
        let receivers = Receivers::new(network, authorities.as_deref())?;
        let (smtp, console) = (SmtpSender::new(&config.smtp)?, config.public_url.clone());
        Ok(Self { keyring, receivers, smtp, console })
    }

    /// Sends a message once.
    pub(super) async fn send(&self, channel: &LeasedChannel, delivery: &DueDelivery) -> SendResult {
        let DueDelivery { id, message, reached, .. } = delivery;
        let sealed = channel.secrets_sealed.as_deref();
        let secrets = match sealed.map(|it| ChannelSecrets::open(&self.keyring, channel.id, it)).transpose() {
            Ok(secrets) => secrets,
            Err(error) => return SendResult::failed(None, format!("The message was not sent: {error}.")),
        };
        let console = self.console.as_ref();
        let outgoing = Outgoing { id: *id, message, reached, console, now: Utc::now() };
        match channel_request(&outgoing, channel.channel_type, &channel.config, secrets.as_ref()) {
            Err(error) => SendResult::failed(None, error),
            Ok(ChannelRequest::Email(email)) => self.send_email(&email).await,
            Ok(ChannelRequest::Http { url, headers, body }) => {
                match self.receivers.post(&url, &headers, body).await {
                    Ok(mut response) => {
                        response.body = redacted(response.body, secrets.as_ref());
                        SendResult::of_response(channel.channel_type, &response)
                    }
                    Err(error) => SendResult::failed(None, error.to_string()),
                }
            }
        }
    }

    async fn send_email(&self, email: &EmailMessage) -> SendResult {
        if email.recipients.is_empty() {
            return SendResult { is_delivered: true, ..SendResult::default() };
        }
        let Some(smtp) = &self.smtp else {
            let error = "The worker has no SMTP server; set ORCHESTRATION_SMTP_HOST.";
            return SendResult::failed(None, error.to_owned());
        };
        let SentEmail { code, reached, error, is_final } = smtp.send(email).await;
        let is_delivered = error.is_none() || is_final;
        SendResult { code, error, reached, is_delivered, ..SendResult::default() }
    }
}

/// Removes what is secret from a receiver's own words, which may repeat the request.
fn redacted(body: String, secrets: Option<&ChannelSecrets>) -> String {
    let hidden = match secrets {
        Some(ChannelSecrets::RoutingKey { routing_key }) => vec![routing_key.expose_secret().to_owned()],
        Some(ChannelSecrets::Address { url }) => Url::parse(url.expose_secret())
            .map(|url| [url.path(), url.query().unwrap_or_default()].map(ToOwned::to_owned).to_vec())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let hidden = hidden.iter().filter(|secret| secret.len() >= MIN_REDACTED);
    hidden.fold(body, |body, secret| body.replace(secret.as_str(), "***"))
}

/// Describes a refusal, with the beginning of the receiver's own words.
fn refusal(status: u16, body: &str) -> String {
    let answer: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let answer: String = answer.chars().take(MAX_ANSWER).collect();
    match (status, answer.as_str()) {
        (300..400, _) => format!("The receiver answered {status}: redirects are not followed."),
        (_, "") => format!("The receiver answered {status}."),
        (_, answer) => format!("The receiver answered {status}: {answer}"),
    }
}
