//! Webhooks as Standard Webhooks 1.0 describes them: the body, and the headers that sign it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use contract::ids::DeliveryId;
use hmac::{Hmac, KeyInit, Mac};
use platform::notifications::{NotificationMessage, SigningSecret};
use serde_json::{Value, json};
use sha2::Sha256;

/// Returns the body: its type names the most urgent change, its data are the facts.
pub(super) fn body(message: &NotificationMessage) -> Value {
    let change = message.change();
    let kind = if message.incidents.is_empty() { "test".to_owned() } else { format!("incident.{change}") };
    json!({
        "type": kind,
        "timestamp": message.at,
        "data": {"space": message.space, "incidents": message.incidents},
    })
}

/// Returns the headers that identify and sign a body, with a signature of every valid secret.
pub(super) fn headers(
    id: DeliveryId,
    body: &str,
    secrets: &[SigningSecret],
    now: DateTime<Utc>,
) -> Vec<(&'static str, String)> {
    let timestamp = now.timestamp();
    let content = format!("{id}.{timestamp}.{body}");
    let valid = secrets.iter().filter(|secret| secret.valid_until.is_none_or(|until| now < until));
    let signatures: Vec<String> = valid.filter_map(|secret| signature(&secret.key()?, &content)).collect();
    vec![
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

fn signature(key: &[u8], content: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(content.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}
