//! Changes of the OpenAPI document that break a client of the old one. A new document may require less in
//! requests and return more in responses, but not the other way around.

mod schemas;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use schemas::{Comparison, Direction, resolve};

/// The keys of a path item that are operations.
const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// Returns every change in `new` that breaks a client of `old`, with its location.
pub(crate) fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let documents = Documents { old, new };
    let mut found = Vec::new();
    for (path, item) in members(&old["paths"]) {
        for (method, operation) in members(item).filter(|(name, _)| METHODS.contains(&name.as_str())) {
            let location = format!("{} {path}", method.to_uppercase());
            match new["paths"][path].get(method) {
                Some(changed) => documents.operation(operation, changed, &location, &mut found),
                None => found.push(format!("{location}: is removed")),
            }
        }
    }
    found
}

/// Both documents, to resolve references in.
struct Documents<'a> {
    old: &'a Value,
    new: &'a Value,
}

impl Documents<'_> {
    fn operation(&self, old: &Value, new: &Value, location: &str, found: &mut Vec<String>) {
        if old["operationId"] != new["operationId"] {
            found.push(format!(
                "{location}: the operation id was {} and is {}",
                old["operationId"], new["operationId"]
            ));
        }
        let has_alternative = |scheme: &Value| list(&new["security"]).contains(scheme);
        if !list(&old["security"]).iter().all(has_alternative)
            || list(&old["security"]).is_empty() != list(&new["security"]).is_empty()
        {
            found.push(format!("{location}: `security` changed"));
        }
        self.parameters(old, new, location, found);
        self.request_body(old, new, location, found);
        for (status, response) in members(&old["responses"]) {
            let location = format!("{location} {status}");
            match new["responses"].get(status) {
                Some(changed) => self.response(response, changed, &location, found),
                None => found.push(format!("{location}: is removed")),
            }
        }
    }

    fn parameters(&self, old: &Value, new: &Value, location: &str, found: &mut Vec<String>) {
        let (old, new) = (by_name(self.old, &old["parameters"]), by_name(self.new, &new["parameters"]));
        for (name, parameter) in &old {
            match new.get(name) {
                Some(changed) => {
                    let location = format!("{location} {name}");
                    self.schema(
                        &parameter["schema"],
                        &changed["schema"],
                        Direction::Request,
                        &location,
                        found,
                    );
                }
                None => found.push(format!("{location} {name}: is removed")),
            }
        }
        for (name, parameter) in new {
            let was_required = old.get(&name).is_some_and(|parameter| parameter["required"] == true);
            if parameter["required"] == true && !was_required {
                found.push(format!("{location} {name}: is required, and was not"));
            }
        }
    }

    fn request_body(&self, old: &Value, new: &Value, location: &str, found: &mut Vec<String>) {
        let location = format!("{location} body");
        let (old, new) = (resolve(self.old, &old["requestBody"]), resolve(self.new, &new["requestBody"]));
        if new["required"] == true && old["required"] != true {
            found.push(format!("{location}: is required, and was not"));
        }
        self.content(old, new, Direction::Request, &location, found);
    }

    fn response(&self, old: &Value, new: &Value, location: &str, found: &mut Vec<String>) {
        let (old, new) = (resolve(self.old, old), resolve(self.new, new));
        for (name, _) in members(&old["headers"]).filter(|(name, _)| new["headers"].get(name).is_none()) {
            found.push(format!("{location} header {name}: is removed"));
        }
        self.content(old, new, Direction::Response, location, found);
    }

    fn content(
        &self,
        old: &Value,
        new: &Value,
        direction: Direction,
        location: &str,
        found: &mut Vec<String>,
    ) {
        for (media_type, content) in members(&old["content"]) {
            match new["content"].get(media_type) {
                Some(changed) => {
                    self.schema(&content["schema"], &changed["schema"], direction, location, found)
                }
                None => found.push(format!("{location} {media_type}: is removed")),
            }
        }
    }

    fn schema(
        &self,
        old: &Value,
        new: &Value,
        direction: Direction,
        location: &str,
        found: &mut Vec<String>,
    ) {
        let mut comparison = Comparison { old: self.old, new: self.new, direction, open: Vec::new() };
        comparison.compare(old, new, location, found);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Parameters by their location and name, for example `query size`.
fn by_name<'a>(document: &'a Value, parameters: &'a Value) -> BTreeMap<String, &'a Value> {
    let parameters = parameters.as_array().into_iter().flatten().map(|it| resolve(document, it));
    parameters
        .map(|parameter| {
            let part = |name: &str| parameter[name].as_str().unwrap_or_default().to_owned();
            (format!("{} {}", part("in"), part("name")), parameter)
        })
        .collect()
}

/// A document with one operation that has a parameter, a body and a response.
fn sample() -> Value {
    json!({
        "paths": { "/runs/{id}": { "post": {
            "operationId": "comment_on_run", "security": [{ "key": [] }],
            "parameters": [
                { "in": "path", "name": "id", "required": true, "schema": { "type": "string" } },
                { "in": "query", "name": "sort", "schema": { "type": "string", "enum": ["age", "name"] } },
                { "in": "query", "name": "size",
                  "schema": { "type": "integer", "minimum": 1, "maximum": 100 } },
            ],
            "requestBody": {
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } }
            },
            "responses": {
                "200": { "headers": { "ETag": {} }, "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/Run" } } } },
                "404": { "description": "Not found" },
            },
        }}},
        "components": { "schemas": {
            "New": {
                "type": "object", "required": ["content"], "additionalProperties": false,
                "properties": {
                    "content": { "type": "string", "maxLength": 10 },
                    "pinned": { "type": ["boolean", "null"] }
                },
            },
            "Run": { "allOf": [
                { "type": "object", "required": ["id"],
                  "properties": { "id": { "type": "string", "format": "uuid" } } },
                { "type": "object", "required": ["status"], "properties": {
                    "status": { "type": "string", "enum": ["success", "failed"] },
                    "owner": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/User" }] },
                    "tasks": { "type": "array", "items": { "$ref": "#/components/schemas/User" } },
                }},
            ]},
            "User": {
                "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } }
            },
        }},
    })
}

const OPERATION: &str = "/paths/~1runs~1{id}/post";

/// Returns the breaking changes when `value` is set at `pointer`, or when the value there is removed.
fn breaks_after(pointer: &str, value: Option<Value>) -> Vec<String> {
    let mut changed = sample();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Array(list) => {
            let index = name.parse::<usize>().unwrap();
            list.splice(index..(index + 1).min(list.len()), value);
        }
        parent => {
            let parent = parent.as_object_mut().unwrap();
            let name = name.replace("~1", "/");
            match value {
                Some(value) => parent.insert(name, value),
                None => parent.remove(&name),
            };
        }
    }
    assert_ne!(changed, sample(), "{pointer} changes nothing");
    breaking_changes(&sample(), &changed)
}

#[test]
fn additions_break_no_client() {
    assert_eq!(breaking_changes(&sample(), &sample()), [""; 0]);
    for (pointer, value) in [
        ("/paths/~1more", json!({ "get": {} })),
        ("/paths/~1runs~1{id}/get", json!({})),
        ("/paths/~1runs~1{id}/post/parameters/3", json!({ "in": "query", "name": "more", "schema": {} })),
        ("/paths/~1runs~1{id}/post/parameters/1/schema/enum", json!(["age", "name", "size"])),
        ("/paths/~1runs~1{id}/post/parameters/2/schema/maximum", json!(200)),
        ("/paths/~1runs~1{id}/post/responses/409", json!({})),
        ("/components/schemas/New/properties/more", json!({ "type": "string" })),
        ("/components/schemas/New/properties/content/type", json!(["string", "null"])),
        ("/components/schemas/New/required", json!([])),
        ("/components/schemas/Run/allOf/0/properties/more", json!({ "type": "string" })),
        ("/components/schemas/Run/allOf/0/required", json!(["id", "more"])),
        ("/components/schemas/Run/allOf/1/properties/status/enum", json!(["success", "failed", "queued"])),
        ("/components/schemas/User/description", json!("A person")),
        ("/paths/~1runs~1{id}/post/security", json!([{ "session": [] }, { "key": [] }])),
    ] {
        assert_eq!(breaks_after(pointer, Some(value)), [""; 0], "{pointer}");
    }
}

#[test]
fn breaking_changes_of_operations_are_found() {
    let parameter = json!({ "in": "query", "name": "more", "required": true, "schema": {} });
    for (below, value, message) in [
        ("", None, ": is removed"),
        ("/operationId", Some(json!("other")), ": the operation id was"),
        ("/security", None, ": `security` changed"),
        ("/security", Some(json!([{ "session": [] }])), ": `security` changed"),
        ("/parameters/2", None, " query size: is removed"),
        ("/parameters/3", Some(parameter), " query more: is required, and was not"),
        ("/parameters/1/required", Some(json!(true)), " query sort: is required, and was not"),
        ("/parameters/1/schema/enum", Some(json!(["age"])), r#" query sort: `enum` lacks "name""#),
        ("/parameters/2/schema/maximum", Some(json!(50)), " query size: `maximum` was 100 and is 50"),
        ("/parameters/2/schema/minimum", Some(json!(2)), " query size: `minimum` was 1 and is 2"),
        ("/requestBody/required", Some(json!(true)), " body: is required, and was not"),
        ("/responses/404", None, " 404: is removed"),
        ("/responses/200/headers/ETag", None, " 200 header ETag: is removed"),
        ("/responses/200/content", Some(json!({})), " 200 application/json: is removed"),
    ] {
        let found = breaks_after(&format!("{OPERATION}{below}"), value);
        let message = format!("POST /runs/{{id}}{message}");
        assert!(found.len() == 1 && found[0].starts_with(&message), "{below}: {found:?}, not {message}");
    }
}

#[test]
fn breaking_changes_of_schemas_are_found() {
    for (below, value, message) in [
        ("/New/required", Some(json!(["content", "pinned"])), "body/pinned: is required, and was not"),
        ("/New/properties/pinned", None, "body/pinned: is removed"),
        ("/New/properties/pinned/type", Some(json!("boolean")), r#"body/pinned: `type` lacks "null""#),
        ("/New/properties/content/maxLength", Some(json!(5)), "body/content: `maxLength` was 10 and is 5"),
        ("/New/properties/content/minLength", Some(json!(1)), "body/content: `minLength` was null and is 1"),
        ("/Run/allOf/0/properties/id", None, "200/id: is removed"),
        ("/Run/allOf/0/properties/id/format", None, "200/id: `format` was \"uuid\" and is null"),
        ("/Run/allOf/0/properties/id/type", Some(json!(["string", "null"])), r#"200/id: `type` has "null""#),
        ("/Run/allOf/0/required", Some(json!([])), "200/id: is not required, and was"),
        (
            "/Run/allOf/1/properties/status/enum",
            Some(json!(["failed"])),
            r#"200/status: `enum` lacks "success""#,
        ),
        ("/User/properties/name/type", Some(json!("integer")), "200/owner: no alternative"),
    ] {
        let found = breaks_after(&format!("/components/schemas{below}"), value);
        let message = format!("POST /runs/{{id}} {message}");
        assert!(
            found.first().is_some_and(|it| it.starts_with(&message)),
            "{below}: {found:?}, not {message}"
        );
    }
}
