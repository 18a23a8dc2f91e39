//! The documents of the event contract in `shared/contract/schemas/`: they are generated from the types and
//! compared with the committed files.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p orchestration-contract` rewrites the files, unless the change breaks
//! readers or writers. `UPDATE_SCHEMAS=breaking` does so before the first release alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it panics")]

mod additive;
mod asyncapi;
mod golden;
mod strategies;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use contract::events::{Event, Record};
use jsonschema::Validator;
use proptest::prelude::*;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The documents of one event type.
pub struct EventDocuments {
    pub name: &'static str,
    pub ce_type: &'static str,
    pub schema: Value,
    pub golden: GoldenMessage,
}

/// A message as it is stored on its topic. Committed messages never change.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenMessage {
    pub topic: String,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: Value,
}

impl GoldenMessage {
    fn of<E: Event>(event: &E) -> Self {
        let record = Record::of(event).unwrap();
        Self {
            topic: record.topic.to_string(),
            key: record.key,
            headers: record.headers.into_iter().collect(),
            value: serde_json::from_slice(&record.payload).unwrap(),
        }
    }
}

fn event_documents() -> [EventDocuments; 8] {
    [
        documents("pipeline", &golden::pipeline()),
        documents("run", &golden::run()),
        documents("task_run", &golden::task_run()),
        documents("sync", &golden::sync()),
        documents("governance", &golden::governance()),
        documents("comment", &golden::comment()),
        documents("incident", &golden::incident()),
        documents("sync_request", &golden::sync_request()),
    ]
}

fn documents<E: Event + JsonSchema>(name: &'static str, example: &E) -> EventDocuments {
    let golden = GoldenMessage::of(example);
    let mut schema = schema_for!(E).to_value();
    schema["examples"] = json!([golden.value]);
    EventDocuments { name, ce_type: E::TYPE, schema, golden }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn committed(name: &str) -> Value {
    let file = folder().join(format!("{name}.schema.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn is_updating() -> bool {
    std::env::var_os("UPDATE_SCHEMAS").is_some()
}

/// Whether a breaking change is written on purpose. After a release it is a new version of its topic.
fn accepts_breaks() -> bool {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/RELEASED");
    let is_released = std::fs::read_to_string(released).unwrap().trim() != "none";
    std::env::var_os("UPDATE_SCHEMAS").is_some_and(|it| it == "breaking") && !is_released
}

fn pretty(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Compares a generated document with the committed file. With `UPDATE_SCHEMAS`, writes the file first.
fn assert_committed(file: &str, generated: &str) {
    let path = folder().join(file);
    if is_updating() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{file} does not match the types: UPDATE_SCHEMAS=1 cargo test -p orchestration-contract"
    );
}

#[test]
fn committed_documents_match_the_types() {
    let events = event_documents();
    for EventDocuments { name, schema, .. } in &events {
        if folder().join(format!("{name}.schema.json")).exists() {
            let breaking = additive::breaking_changes(&committed(name), schema);
            assert!(
                breaking.is_empty() || accepts_breaks(),
                "{name} needs a new version of its topic:\n{}",
                breaking.join("\n")
            );
        }
        assert_committed(&format!("{name}.schema.json"), &pretty(schema));
    }
    let asyncapi = asyncapi::document(&events);
    // By way of JSON, which is YAML: the numbers of JSON values serialize as such into JSON only.
    let asyncapi: serde_yaml_ng::Value = serde_yaml_ng::from_str(&asyncapi.to_string()).unwrap();
    assert_committed("asyncapi.yaml", &serde_yaml_ng::to_string(&asyncapi).unwrap());
}

#[test]
fn fields_have_descriptions_and_objects_allow_additional_properties() {
    fn visit(schema: &Value, path: &str) {
        assert!(schema["additionalProperties"] != false, "{path} allows no additional properties");
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(field["description"].is_string(), "{path}/{name} has no description");
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            assert!(definition["description"].is_string(), "{path}/{name} has no description");
            visit(definition, &format!("{path}/{name}"));
        }
    }
    for EventDocuments { name, schema, .. } in event_documents() {
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        visit(&schema, name);
    }
}

/// Whether `is` contains every field and element of `was`. Objects may have more fields.
fn contains_all_of(is: &Value, was: &Value) -> bool {
    match (is, was) {
        (Value::Object(is), Value::Object(was)) => {
            was.iter().all(|(name, was)| is.get(name).is_some_and(|is| contains_all_of(is, was)))
        }
        (Value::Array(is), Value::Array(was)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| contains_all_of(is, was))
        }
        _ => was == is,
    }
}

#[test]
fn golden_messages_round_trip() {
    fn check<E: Event + PartialEq + Debug>(name: &str, event: &E) {
        let version = E::TYPE.rsplit_once('.').unwrap().1;
        let path = folder().join(format!("golden/{name}.{version}.json"));
        let serialized = GoldenMessage::of(event);
        if is_updating() && !path.exists() {
            std::fs::write(&path, pretty(&serialized)).unwrap();
        }
        let golden: GoldenMessage = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(&serde_json::from_value::<E>(golden.value.clone()).unwrap(), event);
        assert!(
            contains_all_of(&serialized.value, &golden.value),
            "{:#} became {:#}",
            golden.value,
            serialized.value
        );
        assert_eq!(
            (golden.topic, golden.key, golden.headers),
            (serialized.topic, serialized.key, serialized.headers)
        );
        assert!(validator(name).is_valid(&golden.value));
    }
    check("pipeline", &golden::pipeline());
    check("run", &golden::run());
    check("task_run", &golden::task_run());
    check("sync", &golden::sync());
    check("governance", &golden::governance());
    check("comment", &golden::comment());
    check("incident", &golden::incident());
    check("sync_request", &golden::sync_request());
}

fn validator(name: &str) -> Validator {
    let event = event_documents().into_iter().find(|event| event.name == name).unwrap();
    jsonschema::draft202012::options().should_validate_formats(true).build(&event.schema).unwrap()
}

/// Checks that an event with an additional unknown field is valid against its schema and is deserialized to
/// the same event.
fn check_event<E: Event + PartialEq + Debug>(validator: &Validator, event: &E) -> Result<(), TestCaseError> {
    let mut value = serde_json::to_value(event).unwrap();
    value["added_later"] = json!({ "a": [1] });
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    prop_assert!(errors.is_empty(), "{errors:?} of {value:#}");
    prop_assert_eq!(&serde_json::from_value::<E>(value).unwrap(), event);
    Ok(())
}

fn check_all<E: Event + PartialEq + Debug>(name: &str, events: impl Strategy<Value = E>) {
    let validator = validator(name);
    proptest!(|(event in events)| check_event(&validator, &event)?);
}

#[test]
fn every_event_is_valid_against_its_schema() {
    check_all("pipeline", strategies::pipeline());
    check_all("run", strategies::run());
    check_all("task_run", strategies::task_run());
    check_all("sync", strategies::sync());
    check_all("governance", strategies::governance());
    check_all("comment", strategies::comment());
    check_all("incident", strategies::incident());
    check_all("sync_request", strategies::sync_request());
}

#[test]
fn schemas_reject_invalid_events_and_accept_unknown_statuses() {
    let is_valid_with = |name: &str, field: &str, value: Value| {
        let event = event_documents().into_iter().find(|event| event.name == name).unwrap();
        let mut message = event.golden.value;
        message[field] = value;
        validator(name).is_valid(&message)
    };
    assert!(is_valid_with("run", "status", json!("paused")));
    assert!(is_valid_with("task_run", "status", json!("paused")));
    assert!(is_valid_with("run", "note", Value::Null));
    assert!(!is_valid_with("run", "status", json!(1)));
    assert!(!is_valid_with("run", "id", json!("r1")));
    assert!(!is_valid_with("run", "started_at", json!("yesterday")));
    assert!(is_valid_with("run", "conf", Value::Null));
    assert!(!is_valid_with("run", "conf", json!([])));
    assert!(!is_valid_with("sync", "status", json!("paused")));
    assert!(is_valid_with("governance", "criticality", Value::Null));
    assert!(!is_valid_with("governance", "criticality", json!("extreme")));
    assert!(!is_valid_with("pipeline", "tasks", json!([{ "task_id": "extract" }])));
    assert!(
        validator("sync_request")
            .is_valid(&json!({ "id": golden::sync().id, "connector_id": golden::sync().connector_id }))
    );
    assert!(!validator("sync_request").is_valid(&json!({ "id": golden::sync().id })));
}
