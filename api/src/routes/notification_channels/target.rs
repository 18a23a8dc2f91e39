//! Where a channel sends: its configuration, which may be read back, and its secrets, as a body gives them
//! for each type of channel.

use chrono::Utc;
use platform::notifications::{
    ChannelSecrets, ChannelType, PAGERDUTY_URL, SECRET_OVERLAP, SigningSecret, new_signing_secret,
    signing_key,
};
use provider::{NetworkPolicy, check_receiver_url};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::http::request::{Fields, ValueError, body, list};

const MAX_URL_LENGTH: usize = 2_000;
const MAX_RECIPIENTS: usize = 50;
/// Integration keys have 32 characters.
const MAX_ROUTING_KEY_LENGTH: usize = 200;
const MAX_EMAIL_LENGTH: usize = 254;

/// The given part of a channel's target.
#[derive(Debug, Default)]
pub(super) struct TargetChange {
    config: Option<Value>,
    secrets: Option<SecretsChange>,
}

/// The given secrets.
#[derive(Debug)]
enum SecretsChange {
    /// Another signing secret; none to generate one.
    Signing(Option<SecretString>),
    Other(ChannelSecrets),
}

/// A target to be stored.
#[derive(Debug)]
pub(super) struct SavedTarget {
    pub config: Option<Value>,
    pub secrets: Option<ChannelSecrets>,
    /// The signing secret that was generated.
    pub generated: Option<SecretString>,
}

impl TargetChange {
    /// Reads the target of a new channel.
    pub(super) fn read_new(fields: &mut Fields, kind: ChannelType, network: &NetworkPolicy) -> Self {
        match kind {
            ChannelType::Webhook => Self {
                config: read_config(fields, |config| read_url_config(config, network)),
                secrets: Some(read_signing_secret(fields)),
            },
            ChannelType::Slack | ChannelType::Teams => read_address(fields, network),
            ChannelType::Pagerduty => {
                let config = if fields.has_value("config") {
                    read_config(fields, |config| read_pagerduty_config(config, network))
                } else {
                    Some(json!({ "url": PAGERDUTY_URL }))
                };
                Self { config, secrets: read_routing_key(fields) }
            }
            ChannelType::Email => {
                reject_secrets(fields);
                Self { config: read_config(fields, read_email_config), secrets: None }
            }
        }
    }

    /// Reads the given part of the target of an existing channel.
    pub(super) fn read_change(
        fields: &mut Fields,
        kind: ChannelType,
        before: &Value,
        network: &NetworkPolicy,
    ) -> Self {
        let (has_config, has_secrets) = (fields.has("config"), fields.has("secrets"));
        match kind {
            ChannelType::Webhook => Self {
                config: has_config
                    .then(|| read_config(fields, |config| read_url_config(config, network)))
                    .flatten(),
                secrets: has_secrets.then(|| read_signing_secret(fields)),
            },
            ChannelType::Slack | ChannelType::Teams if has_secrets => read_address(fields, network),
            ChannelType::Slack | ChannelType::Teams => {
                ignore_host(fields);
                Self::default()
            }
            ChannelType::Pagerduty => {
                let config = has_config
                    .then(|| read_config(fields, |config| read_pagerduty_config(config, network)))
                    .flatten();
                if !has_secrets && config.as_ref().is_some_and(|config| is_other_origin(before, config)) {
                    let message = "field required: another origin needs the routing key again";
                    fields.add_error("secrets", ValueError::new("value_error.missing", message));
                }
                let secrets = if has_secrets { read_routing_key(fields) } else { None };
                Self { config, secrets }
            }
            ChannelType::Email => {
                reject_secrets(fields);
                let config = has_config.then(|| read_config(fields, read_email_config)).flatten();
                Self { config, secrets: None }
            }
        }
    }

    pub(super) fn has_secrets(&self) -> bool {
        self.secrets.is_some()
    }

    /// Returns what to store in place of the configuration and the secrets before.
    pub(super) fn apply(self, before: &Value, secrets: Option<ChannelSecrets>) -> SavedTarget {
        let Some(given) = self.secrets else {
            let config = self.config.map(|config| keep_overlap(config, before));
            return SavedTarget { config, secrets: None, generated: None };
        };
        match given {
            SecretsChange::Other(secrets) => {
                SavedTarget { config: self.config, secrets: Some(secrets), generated: None }
            }
            SecretsChange::Signing(given) => {
                let now = Utc::now();
                let generated = given.is_none().then(new_signing_secret);
                let secret = given.or_else(|| generated.clone()).unwrap_or_default();
                let had_secret = secrets.is_some();
                let secrets = match secrets {
                    Some(before) => before.with_new_signing_secret(secret, now),
                    None => {
                        ChannelSecrets::Signing { secrets: vec![SigningSecret { secret, valid_until: None }] }
                    }
                };
                let mut config = self.config.unwrap_or_else(|| before.clone());
                config["previous_secret_until"] =
                    if had_secret { json!(now + SECRET_OVERLAP) } else { Value::Null };
                SavedTarget { config: Some(config), secrets: Some(secrets), generated }
            }
        }
    }
}

/// Keeps the end of the previous signing secret, which no request sets.
fn keep_overlap(mut config: Value, before: &Value) -> Value {
    if let Some(until) = before.get("previous_secret_until") {
        config["previous_secret_until"] = until.clone();
    }
    config
}

/// Returns whether two configurations lead to different servers.
fn is_other_origin(before: &Value, after: &Value) -> bool {
    let origin = |config: &Value| config["url"].as_str().and_then(|url| Url::parse(url).ok());
    origin(before).map(|url| url.origin()) != origin(after).map(|url| url.origin())
}

fn read_config(fields: &mut Fields, read: impl FnOnce(&mut Fields) -> Option<Value>) -> Option<Value> {
    let mut given = fields.object("config")?;
    let config = read(&mut given);
    given.deny_unknown();
    fields.merge(given);
    config
}

fn read_url_config(config: &mut Fields, network: &NetworkPolicy) -> Option<Value> {
    let url = config.required("url", |value| receiver_url(value, network))?;
    Some(json!({ "url": url }))
}

fn read_pagerduty_config(config: &mut Fields, network: &NetworkPolicy) -> Option<Value> {
    let url = config.optional("url", |value| receiver_url(value, network));
    Some(json!({ "url": url.unwrap_or_else(|| PAGERDUTY_URL.to_owned()) }))
}

fn read_email_config(config: &mut Fields) -> Option<Value> {
    let to = config.required("to", list::distinct(1..=MAX_RECIPIENTS, email))?;
    Some(json!({ "to": to }))
}

fn read_signing_secret(fields: &mut Fields) -> SecretsChange {
    if !fields.has_value("secrets") {
        return SecretsChange::Signing(None);
    }
    let secret = read_secrets(fields, |secrets| Some(secrets.optional("signing_secret", signing_secret)));
    SecretsChange::Signing(secret.flatten())
}

/// Accepts the configuration that a channel with a secret address shows, and nothing else.
fn ignore_host(fields: &mut Fields) {
    if fields.has_value("config") {
        read_config(fields, |config| {
            config.optional("host", body::text);
            None
        });
    }
}

fn reject_secrets(fields: &mut Fields) {
    if fields.has("secrets") {
        let message = "channels of this type have no secrets";
        fields.add_error("secrets", ValueError::new("value_error.extra", message));
    }
}

/// Reads an address, of which only the host may be read back.
fn read_address(fields: &mut Fields, network: &NetworkPolicy) -> TargetChange {
    ignore_host(fields);
    let url = read_secrets(fields, |secrets| secrets.required("url", |value| receiver_url(value, network)));
    let Some(url) = url else { return TargetChange::default() };
    let host = Url::parse(&url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
    let secrets = SecretsChange::Other(ChannelSecrets::Address { url: url.into() });
    TargetChange { config: Some(json!({ "host": host })), secrets: Some(secrets) }
}

fn read_routing_key(fields: &mut Fields) -> Option<SecretsChange> {
    let read = body::text_of(1..=MAX_ROUTING_KEY_LENGTH);
    let key = read_secrets(fields, |secrets| secrets.required("routing_key", read))?;
    Some(SecretsChange::Other(ChannelSecrets::RoutingKey { routing_key: key.into() }))
}

fn read_secrets<T>(fields: &mut Fields, read: impl FnOnce(&mut Fields) -> Option<T>) -> Option<T> {
    let mut given = fields.object("secrets")?;
    let secrets = read(&mut given);
    given.deny_unknown();
    fields.merge(given);
    secrets
}

/// Reads the URL of a receiver. Every connection checks the resolved address again.
fn receiver_url(value: Value, network: &NetworkPolicy) -> Result<String, ValueError> {
    let text = body::text_of(1..=MAX_URL_LENGTH)(value)?;
    let url = Url::parse(&text).map_err(|_| ValueError::new("value_error.url", "invalid or missing URL"))?;
    check_receiver_url(&url, network)
        .map_err(|error| ValueError::new("value_error.url", error.to_string()))?;
    Ok(text)
}

/// Reads a signing secret. An error never contains it.
fn signing_secret(value: Value) -> Result<SecretString, ValueError> {
    let text = body::text(value)?;
    if signing_key(&text).is_none() {
        let message = "a signing secret is whsec_ followed by 24 to 65 bytes in base64";
        return Err(ValueError::new("value_error.str.regex", message));
    }
    Ok(text.into())
}

/// Reads an address of e-mail, in the common form without quotes.
fn email(value: Value) -> Result<String, ValueError> {
    let text = body::text_of(3..=MAX_EMAIL_LENGTH)(value)?;
    if is_email(&text) {
        Ok(text)
    } else {
        Err(ValueError::new("value_error.email", "invalid e-mail address"))
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = |c: char| c.is_ascii_alphanumeric() || "_+-".contains(c);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    local.len() <= 64
        && local.split('.').all(|part| !part.is_empty() && part.chars().all(is_local))
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_email_have_the_common_form() {
        for good in ["ada@example.org", "a.b+c_d-e@x-y.example.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "@", "ada", "ada@", "@x.org", "a b@x.org", "a@x", "a@-x.org", ".a@x.org", "a@b@x.org"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
