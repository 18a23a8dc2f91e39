//! The schemas of the bodies that create and change channels of notifications: what they hold depends on the
//! type of the channel.

use platform::notifications::{ChannelType, PAGERDUTY_URL};
use serde_json::{Value, json};
use strum::VariantArray;

/// 24 to 65 bytes in base64.
const SIGNING_SECRET: &str = "^whsec_(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";
/// Two words, an `@`, and a domain.
const EMAIL: &str = "^[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30})?\
    @[A-Za-z0-9]{1,30}(?:-[A-Za-z0-9]{1,30})?\\.[A-Za-z]{2,20}$";

/// Writes the schemas.
pub(super) fn write(schemas: &mut Value) {
    let variants: Vec<Value> = ChannelType::VARIANTS.iter().map(|kind| new_channel(*kind)).collect();
    schemas["NewChannel"] =
        json!({"description": "A channel to be created, by its type.", "oneOf": variants});
    schemas["ChannelChange"] = channel_change();
}

fn title(kind: ChannelType) -> &'static str {
    match kind {
        ChannelType::Webhook => "Signed requests, as in Standard Webhooks 1.0",
        ChannelType::Slack => "An incoming webhook of Slack",
        ChannelType::Teams => "A workflow of Microsoft Teams",
        ChannelType::Pagerduty => "A service of PagerDuty, by its events",
        ChannelType::Email => "E-mail",
    }
}

fn new_channel(kind: ChannelType) -> Value {
    let (config, secrets) = (config(kind), secrets(kind));
    let mut properties = json!({
        "type": {"const": kind},
        "name": {"type": "string", "minLength": 1, "maxLength": 200},
        "is_active": {"type": ["boolean", "null"], "default": true},
    });
    let mut required = vec!["type", "name"];
    if let Some(config) = config {
        if kind == ChannelType::Pagerduty {
            properties["config"] = json!({"anyOf": [config, {"type": "null"}]});
        } else {
            properties["config"] = config;
            required.push("config");
        }
    }
    if let Some(secrets) = secrets {
        if kind == ChannelType::Webhook {
            properties["secrets"] = json!({"anyOf": [secrets, {"type": "null"}]});
        } else {
            properties["secrets"] = secrets;
            required.push("secrets");
        }
    }
    json!({"title": title(kind), "type": "object", "required": required, "properties": properties})
}

fn config(kind: ChannelType) -> Option<Value> {
    match kind {
        ChannelType::Webhook => Some(object(&["url"], json!({ "url": url() }))),
        ChannelType::Slack | ChannelType::Teams => None,
        ChannelType::Pagerduty => {
            let url = json!({"type": ["string", "null"], "format": "uri", "maxLength": 2000,
                "default": PAGERDUTY_URL});
            Some(object(&[], json!({ "url": url })))
        }
        ChannelType::Email => {
            let email = json!({"type": "string", "maxLength": 254, "pattern": EMAIL});
            let to = json!({"type": "array", "minItems": 1, "maxItems": 50, "items": email});
            Some(object(&["to"], json!({ "to": to })))
        }
    }
}

fn secrets(kind: ChannelType) -> Option<Value> {
    match kind {
        ChannelType::Webhook => {
            let secret = json!({
                "description": "Generated, and shown in this one response, without it",
                "type": ["string", "null"], "format": "password", "pattern": SIGNING_SECRET,
            });
            Some(object(&[], json!({ "signing_secret": secret })))
        }
        ChannelType::Slack | ChannelType::Teams => Some(object(&["url"], json!({ "url": url() }))),
        ChannelType::Pagerduty => {
            let key = json!({"type": "string", "format": "password", "minLength": 1, "maxLength": 200});
            Some(object(&["routing_key"], json!({ "routing_key": key })))
        }
        ChannelType::Email => None,
    }
}

fn url() -> Value {
    json!({"type": "string", "format": "uri", "minLength": 1, "maxLength": 2000})
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn channel_change() -> Value {
    let of_types = |part: fn(ChannelType) -> Option<Value>| {
        let mut parts: Vec<Value> = Vec::new();
        for schema in ChannelType::VARIANTS.iter().filter_map(|kind| part(*kind)) {
            if !parts.contains(&schema) {
                parts.push(schema);
            }
        }
        parts
    };
    json!({
        "description": "What of a channel is to change; what is left out stays.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "description": "Only as it is already"},
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "is_active": {"type": "boolean"},
            "config": {"description": "As for a new channel of the type, as a whole",
                "anyOf": of_types(config)},
            "secrets": {"description": "As for a new channel of the type, as a whole",
                "anyOf": of_types(secrets)},
        },
    })
}
