//! The AsyncAPI 3 document: every topic with its key, headers, message and configuration.

use contract::events::Topic;
use serde_json::{Map, Value, json};

use super::EventDocuments;

const ABOUT: &str = "What Orchestration tells other programs on Kafka, and what they may ask of it.\n\n\
    Every state event is a complete picture of its entity: keep the highest `version` per `id`, whatever the \
    order or number of deliveries. What the provider no longer has is told by an event with `deleted: true`. \
    State topics are compacted: read them from the start to rebuild everything. Times are RFC 3339 in UTC, \
    durations are in seconds. Within a version of a topic fields are only added: ignore those that you do \
    not know.";

pub(crate) fn document(events: &[EventDocuments]) -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Orchestration events",
            "version": "1.0.0",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": each(events, channel),
        "operations": each(events, operation),
        "components": {
            "messages": each(events, message),
            "schemas": { "cloud_event": cloud_event(), "trace": trace() },
        },
    })
}

fn each(events: &[EventDocuments], part: fn(&EventDocuments) -> Value) -> Map<String, Value> {
    events.iter().map(|event| (event.name.to_owned(), part(event))).collect()
}

fn channel(event: &EventDocuments) -> Value {
    json!({
        "address": event.golden.topic,
        "description": event.schema["description"],
        "messages": { event.name: { "$ref": format!("#/components/messages/{}", event.name) } },
        "bindings": { "kafka": {
            "topic": event.golden.topic,
            "topicConfiguration": configuration(event),
            "bindingVersion": "0.5.0",
        } },
    })
}

/// Returns the topic's configuration with the JSON types that AsyncAPI requires.
fn configuration(event: &EventDocuments) -> Value {
    let topic = Topic::ALL.into_iter().find(|topic| topic.to_string() == event.golden.topic).unwrap();
    let settings = topic.config().iter().map(|(name, value)| {
        let value = match *name {
            "cleanup.policy" => json!([value]),
            _ => value.parse::<i64>().unwrap().into(),
        };
        ((*name).to_owned(), value)
    });
    Value::Object(settings.collect())
}

fn operation(event: &EventDocuments) -> Value {
    let action = if event.name == "sync_request" { "receive" } else { "send" };
    json!({ "action": action, "channel": { "$ref": format!("#/channels/{}", event.name) } })
}

fn message(event: &EventDocuments) -> Value {
    let key = if event.name == "sync_request" { "connector_id" } else { "id" };
    json!({
        "name": event.ce_type,
        "title": event.schema["title"],
        "summary": event.schema["description"],
        "contentType": "application/json",
        "headers": { "allOf": [
            { "$ref": "#/components/schemas/cloud_event" },
            { "$ref": "#/components/schemas/trace" },
            { "type": "object", "properties": { "ce_type": { "const": event.ce_type } } },
        ] },
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": { "$ref": format!("./{}.schema.json", event.name) },
        },
        "bindings": { "kafka": {
            "key": { "type": "string", "format": "uuid", "description": format!("The value's `{key}`.") },
            "bindingVersion": "0.5.0",
        } },
        "examples": [{ "headers": event.golden.headers, "payload": event.golden.value }],
    })
}

/// The schema of CloudEvents 1.0 headers (Kafka binding, binary mode). None is required, because the sender
/// of a sync request may omit them.
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

/// The schema of the optional trace header. It may differ when the same event is sent twice.
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
