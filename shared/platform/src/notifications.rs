//! Channels of notifications: their types and their sealed secrets. The API writes channels, the worker sends
//! messages to them.

mod message;

use base64::Engine;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use derive_more::Display;
use provider::connector::expose;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use contract::ids::ChannelId;

pub use self::message::{IncidentFacts, MessageChange, NotificationMessage, PipelineFacts};
use crate::secrets::{Keyring, SecretError};

/// The kinds of incidents, as rules name them.
pub const INCIDENT_KINDS: [&str; 5] = ["failing", "late_start", "late_finish", "slow", "connector_stale"];
/// Where PagerDuty takes events, unless a channel has another address.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// How long the previous signing secret signs beside its successor.
pub const SECRET_OVERLAP: TimeDelta = TimeDelta::hours(24);

const SIGNING_PREFIX: &str = "whsec_";
/// The number of bytes of a signing secret.
const SIGNING_BYTES: std::ops::RangeInclusive<usize> = 24..=65;
const NEW_SIGNING_BYTES: usize = 32;
/// Other programs write the unused bits of the last character as they like.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD_ALPHABET,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The type of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ChannelType {
    /// Signed requests, as Standard Webhooks describes them.
    Webhook,
    /// An incoming webhook of Slack, or of a server that takes the same messages.
    Slack,
    /// A workflow of Microsoft Teams that posts cards.
    Teams,
    /// Events of PagerDuty.
    Pagerduty,
    /// E-mail, by the worker's SMTP server.
    Email,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// An attempt is due, now or later.
    Pending,
    Delivered,
    /// No attempt has succeeded, and none follows.
    Failed,
    /// The channel was switched off.
    Cancelled,
}

/// The secrets of a channel. They serialize in full, and are serialized only to be sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChannelSecrets {
    /// Of a webhook, the newest secret first.
    Signing { secrets: Vec<SigningSecret> },
    /// The address, which is secret because it suffices to post.
    Address {
        #[serde(serialize_with = "expose")]
        url: SecretString,
    },
    /// Of a PagerDuty service.
    RoutingKey {
        #[serde(serialize_with = "expose")]
        routing_key: SecretString,
    },
}

/// A secret that requests are signed with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningSecret {
    /// With its prefix.
    #[serde(serialize_with = "expose")]
    pub secret: SecretString,
    /// The end of its use, once it has a successor.
    pub valid_until: Option<DateTime<Utc>>,
}

/// The secrets of a channel cannot be stored or used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelSecretError {
    #[error(transparent)]
    Sealed(#[from] SecretError),
    #[error("the channel's secrets cannot be read; enter them again")]
    Unreadable,
}

impl ChannelSecrets {
    /// Returns the secrets of a webhook after an exchange: the newest of the present ones stays valid for a
    /// while.
    pub fn with_new_signing_secret(self, secret: SecretString, now: DateTime<Utc>) -> Self {
        let previous = match self {
            Self::Signing { secrets } => secrets.into_iter().next(),
            _ => None,
        };
        let previous = previous
            .map(|previous| SigningSecret { valid_until: Some(now + SECRET_OVERLAP), ..previous })
            .into_iter();
        Self::Signing {
            secrets: std::iter::once(SigningSecret { secret, valid_until: None }).chain(previous).collect(),
        }
    }

    /// Seals the secrets of a channel.
    ///
    /// # Errors
    /// When there is no sealing key.
    pub fn seal(&self, keyring: &Keyring, channel: ChannelId) -> Result<Vec<u8>, ChannelSecretError> {
        let plain = serde_json::to_vec(self).map_err(|_| ChannelSecretError::Unreadable)?;
        Ok(keyring.seal(&channel_aad(channel), &plain)?)
    }

    /// Opens the sealed secrets of a channel.
    ///
    /// # Errors
    /// When none of the keys opens them.
    pub fn open(keyring: &Keyring, channel: ChannelId, sealed: &[u8]) -> Result<Self, ChannelSecretError> {
        let plain = keyring.open(&channel_aad(channel), sealed)?;
        // The error of serde would quote the secret.
        serde_json::from_slice(&plain).map_err(|_| ChannelSecretError::Unreadable)
    }
}

impl SigningSecret {
    /// Returns the key that signatures are made with; none for a text that is no signing secret.
    pub fn key(&self) -> Option<Vec<u8>> {
        signing_key(self.secret.expose_secret())
    }
}

/// The additional authenticated data that a channel's secrets are sealed with.
pub fn channel_aad(channel: ChannelId) -> String {
    format!("notification_channels/{channel}/secrets_sealed")
}

/// Decodes a signing secret: `whsec_` and 24 to 65 bytes in base64.
pub fn signing_key(secret: &str) -> Option<Vec<u8>> {
    let key = LENIENT.decode(secret.strip_prefix(SIGNING_PREFIX)?).ok()?;
    SIGNING_BYTES.contains(&key.len()).then_some(key)
}

/// Generates a signing secret.
pub fn new_signing_secret() -> SecretString {
    let mut bytes = [0; NEW_SIGNING_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    format!("{SIGNING_PREFIX}{}", STANDARD.encode(bytes)).into()
}

/// The OpenAPI schemas of the enumerations.
#[cfg(feature = "openapi")]
mod schema {
    use std::borrow::Cow;

    use strum::VariantArray;
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::{ChannelType, DeliveryStatus, MessageChange};

    macro_rules! string_enums {
        ($($type:ident as $name:literal,)*) => {$(
            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    contract::openapi::string_enum($type::VARIANTS)
                }
            }

            impl ToSchema for $type {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed($name)
                }
            }
        )*};
    }

    string_enums! {
        ChannelType as "ChannelKind",
        DeliveryStatus as "DeliveryState",
        MessageChange as "NotificationChange",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_has_a_key_and_others_have_none() {
        let key = |secret: &str| signing_key(secret).map(|key| key.len());
        assert_eq!(key(new_signing_secret().expose_secret()), Some(NEW_SIGNING_BYTES));
        assert_eq!(key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Some(24));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!!!"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_exchange_keeps_the_previous_secret_for_a_day_and_no_older_one() {
        let secrets = ["whsec_a", "whsec_b", "whsec_c"];
        let start = ChannelSecrets::Signing { secrets: Vec::new() };
        let exchanged = secrets.iter().fold(start, |before, secret| {
            before.with_new_signing_secret((*secret).into(), DateTime::UNIX_EPOCH)
        });
        let ChannelSecrets::Signing { secrets } = exchanged else { panic!("a webhook's") };
        let kept: Vec<_> = secrets.iter().map(|one| (one.secret.expose_secret(), one.valid_until)).collect();
        let end = DateTime::UNIX_EPOCH + SECRET_OVERLAP;
        assert_eq!(kept, [("whsec_c", None), ("whsec_b", Some(end))]);
    }
}
