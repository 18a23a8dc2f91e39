//! Breaking changes between two versions of a JSON schema. Topics are read from their start, so old readers
//! get new messages and new readers get old ones: only fields, and values of open enumerations, may be added.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const ANNOTATIONS: [&str; 5] = ["$schema", "$defs", "title", "description", "examples"];

/// Returns every change in `new` that breaks a reader or a writer of `old`, with its path in the schema.
pub(crate) fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(&shape(old, old), &shape(new, new), "", &mut found);
    found
}

/// Returns a schema without annotations and with its references resolved.
fn shape(root: &Value, schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut shape = Map::new();
    for (keyword, value) in fields.iter().filter(|(keyword, _)| !ANNOTATIONS.contains(&keyword.as_str())) {
        let value = match (keyword.as_str(), value) {
            ("$ref", Value::String(target)) => {
                let target = root.pointer(target.trim_start_matches('#')).expect("a reference has a target");
                shape.extend(self::shape(root, target).as_object().cloned().unwrap_or_default());
                continue;
            }
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, schema)| (name.clone(), self::shape(root, schema))).collect()
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => {
                schemas.iter().map(|schema| self::shape(root, schema)).collect()
            }
            ("items" | "additionalProperties", schema) => self::shape(root, schema),
            _ => value.clone(),
        };
        shape.insert(keyword.clone(), value);
    }
    shape.into()
}

fn compare(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let keywords: BTreeSet<&String> =
        [old, new].into_iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
    for keyword in keywords {
        match (keyword.as_str(), &old[keyword], &new[keyword]) {
            (_, was, is) if was == is => {}
            ("properties", was, is) => properties(was, is, path, found),
            ("required", was, is) => required(was, is, path, found),
            ("items" | "additionalProperties", was @ Value::Object(_), is @ Value::Object(_)) => {
                compare(was, is, &format!("{path}/*"), found);
            }
            ("anyOf", was, is) if are_values_added(was, is) => {}
            (_, was, is) => found.push(format!("{path}: `{keyword}` was {was} and is {is}")),
        }
    }
}

fn properties(was: &Value, is: &Value, path: &str, found: &mut Vec<String>) {
    for (name, was) in was.as_object().into_iter().flatten() {
        match is.get(name) {
            Some(is) => compare(was, is, &format!("{path}/{name}"), found),
            None => found.push(format!("{path}/{name}: is gone")),
        }
    }
}

fn required(was: &Value, is: &Value, path: &str, found: &mut Vec<String>) {
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (was, is) = (names(was), names(is));
    found.extend(is.difference(&was).map(|name| format!("{path}/{name}: is required, and was not")));
    found.extend(was.difference(&is).map(|name| format!("{path}/{name}: is not required, and was")));
}

/// Whether the old alternatives accept any string, and the new ones accept the same and list more values.
fn are_values_added(was: &Value, is: &Value) -> bool {
    let (Some(was), Some(is)) = (was.as_array(), is.as_array()) else { return false };
    let listed_values = |schemas: &[Value]| -> BTreeSet<String> {
        let listed = schemas.iter().flat_map(|schema| {
            let constant = schema.get("const").into_iter();
            constant.chain(schema["enum"].as_array().into_iter().flatten())
        });
        listed.map(Value::to_string).collect()
    };
    let any = json!({ "type": "string" });
    was.contains(&any)
        && is.contains(&any)
        && is.iter().all(|schema| schema["type"] == "string")
        && listed_values(was).is_subset(&listed_values(is))
}

/// A schema with one field of each form that event schemas use.
fn sample() -> Value {
    json!({
        "title": "Sample", "type": "object", "required": ["id", "status"],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "count": { "type": "integer", "minimum": 0, "default": 0 },
            "note": { "type": ["string", "null"] },
            "parts": { "type": "array", "items": { "$ref": "#/$defs/Part" } },
            "status": { "anyOf": [
                { "type": "string", "enum": ["good", "bad"] },
                { "type": "string", "description": "any other value" } ] },
            "outcome": { "enum": ["passed", "failed"] },
        },
        "$defs": { "Part": {
            "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } } },
    })
}

/// Returns the breaking changes when `value` is set at `pointer`, or when the value there is removed.
fn changes_after(pointer: &str, value: Option<Value>) -> Vec<String> {
    let mut changed = sample();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    assert_ne!(changed, sample(), "{pointer} changes nothing");
    breaking_changes(&sample(), &changed)
}

#[test]
fn additions_break_no_reader() {
    assert_eq!(breaking_changes(&sample(), &sample()), [""; 0]);
    let more_values = json!([{ "type": "string", "enum": ["good", "bad", "mixed"] }, { "type": "string" }]);
    for (pointer, value) in [
        ("/title", json!("Another")),
        ("/properties/id/description", json!("The id of the entity.")),
        ("/properties/more", json!({ "type": "integer" })),
        ("/$defs/Part/properties/more", json!({ "type": "integer" })),
        ("/properties/status/anyOf", more_values),
        ("/properties/parts/items", sample()["$defs"]["Part"].clone()),
    ] {
        assert_eq!(changes_after(pointer, Some(value)), [""; 0], "{pointer}");
    }
}

#[test]
fn other_changes_break_a_reader_or_a_writer() {
    let not_open = json!([{ "type": "string", "enum": ["good", "bad"] }]);
    let fewer_values = json!([{ "type": "string", "enum": ["good"] }, { "type": "string" }]);
    for (pointer, value, message) in [
        ("/properties/note", None, "/note: is gone"),
        ("/$defs/Part/properties/name", None, "/parts/*/name: is gone"),
        ("/properties/id/type", Some(json!("integer")), r#"/id: `type` was "string" and is "integer""#),
        ("/properties/id/format", None, r#"/id: `format` was "uuid" and is null"#),
        (
            "/properties/note/type",
            Some(json!("string")),
            r#"/note: `type` was ["string","null"] and is "string""#,
        ),
        ("/properties/count/minimum", Some(json!(1)), "/count: `minimum` was 0 and is 1"),
        ("/properties/count/maximum", Some(json!(9)), "/count: `maximum` was null and is 9"),
        ("/properties/count/default", Some(json!(1)), "/count: `default` was 0 and is 1"),
        (
            "/properties/outcome/enum",
            Some(json!(["passed", "failed", "lost"])),
            r#"/outcome: `enum` was ["passed","failed"]"#,
        ),
        ("/required", Some(json!(["id", "status", "note"])), "/note: is required, and was not"),
        ("/required", Some(json!(["id"])), "/status: is not required, and was"),
        ("/$defs/Part/required", None, "/parts/*/name: is not required, and was"),
        ("/properties/status/anyOf", Some(not_open), "/status: `anyOf` was"),
        ("/properties/status/anyOf", Some(fewer_values), "/status: `anyOf` was"),
        ("/additionalProperties", Some(json!(false)), ": `additionalProperties` was null and is false"),
    ] {
        let found = changes_after(pointer, value);
        assert!(found.len() == 1 && found[0].starts_with(message), "{pointer}: {found:?}, not {message}");
    }
}
