//! The AsyncAPI 3 document: every topic with its key, headers, message and configuration.

use contract::events::Topic;
use serde_json::{Map, Value, json};

use super::Kind;

const ABOUT: &str = "What Orchestration tells other programs on Kafka, and what they may ask of it.\n\n\
    Every state event is a complete picture of its entity: keep the highest `version` per `id`, whatever the \
    order or number of deliveries. What the provider no longer has is told by an event with `deleted: true`. \
    State topics are compacted: read them from the start to rebuild everything. Times are RFC 3339 in UTC, \
    durations are in seconds. Within a version of a topic fields are only added: ignore those that you do \
    not know.";

pub(crate) fn document(kinds: &[Kind]) -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Orchestration events",
            "version": "1.0.0",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": each(kinds, channel),
        "operations": each(kinds, operation),
        "components": {
            "messages": each(kinds, message),
            "schemas": { "cloud_event": cloud_event(), "trace": trace() },
        },
    })
}

fn each(kinds: &[Kind], part: fn(&Kind) -> Value) -> Map<String, Value> {
    kinds.iter().map(|kind| (kind.name.to_owned(), part(kind))).collect()
}

fn channel(kind: &Kind) -> Value {
    json!({
        "address": kind.golden.topic,
        "description": kind.schema["description"],
        "messages": { kind.name: { "$ref": format!("#/components/messages/{}", kind.name) } },
        "bindings": { "kafka": {
            "topic": kind.golden.topic,
            "topicConfiguration": configuration(kind),
            "bindingVersion": "0.5.0",
        } },
    })
}

/// The topic's configuration in the types that AsyncAPI gives it.
fn configuration(kind: &Kind) -> Value {
    let topic = Topic::ALL.into_iter().find(|topic| topic.to_string() == kind.golden.topic).unwrap();
    let settings = topic.config().iter().map(|(name, value)| {
        let value = match *name {
            "cleanup.policy" => json!([value]),
            _ => value.parse::<i64>().unwrap().into(),
        };
        ((*name).to_owned(), value)
    });
    Value::Object(settings.collect())
}

fn operation(kind: &Kind) -> Value {
    let action = if kind.name == "sync_request" { "receive" } else { "send" };
    json!({ "action": action, "channel": { "$ref": format!("#/channels/{}", kind.name) } })
}

fn message(kind: &Kind) -> Value {
    let key = if kind.name == "sync_request" { "connector_id" } else { "id" };
    json!({
        "name": kind.ce_type,
        "title": kind.schema["title"],
        "summary": kind.schema["description"],
        "contentType": "application/json",
        "headers": { "allOf": [
            { "$ref": "#/components/schemas/cloud_event" },
            { "$ref": "#/components/schemas/trace" },
            { "type": "object", "properties": { "ce_type": { "const": kind.ce_type } } },
        ] },
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": { "$ref": format!("./{}.schema.json", kind.name) },
        },
        "bindings": { "kafka": {
            "key": { "type": "string", "format": "uuid", "description": format!("The value's `{key}`.") },
            "bindingVersion": "0.5.0",
        } },
        "examples": [{ "headers": kind.golden.headers, "payload": kind.golden.value }],
    })
}

/// CloudEvents 1.0, Kafka binding, binary mode. Nothing is required, because the sender of a request may
/// leave them out.
fn cloud_event() -> Value {
    json!({
        "type": "object",
        "description":
            "CloudEvents 1.0 in binary mode: on every event of ours, and not needed on a sync request.",
        "properties": {
            "ce_specversion": { "const": "1.0" },
            "ce_id": {
                "type": "string", "format": "uuid", "description": "The same for the same event sent twice.",
            },
            "ce_source": {
                "type": "string", "format": "uri-reference",
                "description": "`/spaces/{slug}/connectors/{id}`",
            },
            "ce_type": { "type": "string", "description": "What kind of event it is." },
            "ce_subject": {
                "type": "string", "format": "uuid", "description": "The entity's id: the value's `id`.",
            },
            "ce_time": {
                "type": "string", "format": "date-time", "description": "The value's `observed_at`.",
            },
            "content-type": { "const": "application/json" },
        },
    })
}

/// Beside CloudEvents: what a sender may add, and what may differ where the same event is sent twice.
fn trace() -> Value {
    json!({
        "type": "object",
        "description": "Where a message belongs in a trace, as W3C trace context says it. It is no part of \
            the event: it may be missing, and differ where the same event is sent twice. On a sync request \
            it leads to all that the sync publishes.",
        "properties": { "traceparent": {
            "type": "string",
            "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$",
            "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        } },
    })
}
