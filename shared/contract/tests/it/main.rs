//! The event contract as documents: made from the types, held against what is committed in
//! `shared/contract/schemas/`.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p orchestration-contract` rewrites them, unless a reader or writer would
//! break.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it panics")]

mod additive;
mod any;
mod asyncapi;
mod golden;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use contract::events::{Event, Record};
use jsonschema::Validator;
use proptest::prelude::*;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A kind of event as its documents show it.
pub struct Kind {
    pub name: &'static str,
    pub ce_type: &'static str,
    pub schema: Value,
    pub golden: Golden,
}

/// A message as it lies on its topic, for good.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    pub topic: String,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: Value,
}

impl Golden {
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

fn kinds() -> [Kind; 5] {
    [
        kind("pipeline", &golden::pipeline()),
        kind("run", &golden::run()),
        kind("task_run", &golden::task_run()),
        kind("sync", &golden::sync()),
        kind("sync_request", &golden::sync_request()),
    ]
}

fn kind<E: Event + JsonSchema>(name: &'static str, example: &E) -> Kind {
    let golden = Golden::of(example);
    let mut schema = schema_for!(E).to_value();
    schema["examples"] = json!([golden.value]);
    Kind { name, ce_type: E::TYPE, schema, golden }
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

fn pretty(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Holds a made document against the committed one, or commits it.
fn hold(file: &str, made: &str) {
    let path = folder().join(file);
    if is_updating() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{file} is not what the types say: UPDATE_SCHEMAS=1 cargo test -p orchestration-contract"
    );
}

#[test]
fn committed_documents_are_what_the_types_say() {
    let kinds = kinds();
    for Kind { name, schema, .. } in &kinds {
        if folder().join(format!("{name}.schema.json")).exists() {
            let breaks = additive::breaks(&committed(name), schema);
            assert!(breaks.is_empty(), "{name} needs a new version of its topic:\n{}", breaks.join("\n"));
        }
        hold(&format!("{name}.schema.json"), &pretty(schema));
    }
    hold("asyncapi.yaml", &serde_yaml_ng::to_string(&asyncapi::document(&kinds)).unwrap());
}

#[test]
fn every_field_is_described_and_nothing_is_closed_to_more() {
    fn visit(schema: &Value, place: &str) {
        assert!(schema["additionalProperties"] != false, "{place} is closed");
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(field["description"].is_string(), "{place}/{name} is not described");
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            assert!(definition["description"].is_string(), "{place}/{name} is not described");
            visit(definition, &format!("{place}/{name}"));
        }
    }
    for Kind { name, schema, .. } in kinds() {
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        visit(&schema, name);
    }
}

/// Whether everything that was said is said again, beside what may have been added.
fn says_again(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            was.iter().all(|(name, was)| is.get(name).is_some_and(|is| says_again(was, is)))
        }
        (Value::Array(was), Value::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| says_again(was, is))
        }
        _ => was == is,
    }
}

#[test]
fn golden_messages_are_understood_and_said_again_for_ever() {
    fn check<E: Event + PartialEq + Debug>(name: &str, event: &E) {
        let version = E::TYPE.rsplit_once('.').unwrap().1;
        let path = folder().join(format!("golden/{name}.{version}.json"));
        let made = Golden::of(event);
        if is_updating() && !path.exists() {
            std::fs::write(&path, pretty(&made)).unwrap();
        }
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(&serde_json::from_value::<E>(golden.value.clone()).unwrap(), event);
        assert!(says_again(&golden.value, &made.value), "{:#} became {:#}", golden.value, made.value);
        assert_eq!((golden.topic, golden.key, golden.headers), (made.topic, made.key, made.headers));
        assert!(validator(name).is_valid(&golden.value));
    }
    check("pipeline", &golden::pipeline());
    check("run", &golden::run());
    check("task_run", &golden::task_run());
    check("sync", &golden::sync());
    check("sync_request", &golden::sync_request());
}

fn validator(name: &str) -> Validator {
    let kind = kinds().into_iter().find(|kind| kind.name == name).unwrap();
    jsonschema::draft202012::options().should_validate_formats(true).build(&kind.schema).unwrap()
}

/// That an event fits its schema, is understood again, and stays so with an unknown field.
fn fits<E: Event + PartialEq + Debug>(validator: &Validator, event: &E) -> Result<(), TestCaseError> {
    let mut said = serde_json::to_value(event).unwrap();
    said["added_later"] = json!({ "a": [1] });
    let complaints: Vec<String> = validator.iter_errors(&said).map(|error| error.to_string()).collect();
    prop_assert!(complaints.is_empty(), "{complaints:?} of {said:#}");
    prop_assert_eq!(&serde_json::from_value::<E>(said).unwrap(), event);
    Ok(())
}

fn all_fit<E: Event + PartialEq + Debug>(name: &str, events: impl Strategy<Value = E>) {
    let validator = validator(name);
    proptest!(|(event in events)| fits(&validator, &event)?);
}

#[test]
fn whatever_the_types_say_fits_the_schemas() {
    all_fit("pipeline", any::pipeline());
    all_fit("run", any::run());
    all_fit("task_run", any::task_run());
    all_fit("sync", any::sync());
    all_fit("sync_request", any::sync_request());
}

#[test]
fn the_schemas_refuse_what_is_no_event_and_take_words_of_tomorrow() {
    let after = |name: &str, field: &str, value: Value| {
        let mut event = kinds().into_iter().find(|kind| kind.name == name).unwrap().golden.value;
        event[field] = value;
        validator(name).is_valid(&event)
    };
    assert!(after("run", "status", json!("paused")));
    assert!(after("task_run", "status", json!("paused")));
    assert!(after("run", "note", Value::Null));
    assert!(!after("run", "status", json!(1)));
    assert!(!after("run", "id", json!("r1")));
    assert!(!after("run", "started_at", json!("yesterday")));
    assert!(!after("run", "conf", Value::Null));
    assert!(!after("sync", "status", json!("paused")));
    assert!(!after("pipeline", "tasks", json!([{ "task_id": "extract" }])));
    assert!(
        validator("sync_request")
            .is_valid(&json!({ "id": golden::sync().id, "connector_id": golden::sync().connector_id }))
    );
    assert!(!validator("sync_request").is_valid(&json!({ "id": golden::sync().id })));
}
