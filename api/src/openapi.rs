//! The OpenAPI document: what the handlers and their types declare, completed with what all operations share:
//! path parameters, the security scheme, headers, errors, links and examples.

mod channels;
mod inputs;
mod links;
mod operation;
mod responses;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::auth::sessions::TLS_COOKIE;

/// Builds the document from the operations and schemas that the handlers declare.
pub(crate) fn build(declared: &OpenApi) -> Value {
    let mut document = serde_json::to_value(declared).unwrap_or_default();
    document["info"] = json!({
        "title": "Orchestration API", "version": env!("CARGO_PKG_VERSION"),
        "description": "Pipelines, runs and task runs of workflow orchestrators, by space. Every path below \
            `/api/v1.0` needs an API key. A request may carry `X-Request-Id` and `traceparent` (W3C trace \
            context): both are found in the log, and the trace on everything that the request brings about.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["servers"] = json!([{"url": "/"}]);
    complete_schemas(&mut document);
    document["components"]["headers"] = responses::header_components();
    document["components"]["responses"] = responses::error_components();
    document["components"]["securitySchemes"] = json!({
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, `qk_…`"},
        "session": {"type": "apiKey", "in": "cookie", "name": TLS_COOKIE,
            "description": "A browser session; without TLS its name has no `__Host-`"},
    });
    let paths = document["paths"].as_object_mut();
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            operation::complete(path, method, operation);
        }
    }
    links::add(&mut document["paths"]);
    document
}

/// Completes the schemas: a response always has all its fields, a request limits its text, and both get their
/// example.
fn complete_schemas(document: &mut Value) {
    let mut schemas = document["components"]["schemas"].take();
    write_errors(&mut schemas);
    inputs::write(&mut schemas);
    channels::write(&mut schemas);
    let of_requests = inputs::request_schemas(&document["paths"], &schemas);
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        if of_requests.contains(name) {
            inputs::limit_text(schema);
        } else if name != "Error" {
            require_all(schema);
        }
        if let Some(example) = examples().get(name) {
            schema["examples"] = json!([example]);
        }
    }
    document["components"]["schemas"] = schemas;
}

fn require_all(schema: &mut Value) {
    let properties: Vec<_> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| json!(name)).collect();
    if !properties.is_empty() {
        schema["required"] = Value::Array(properties);
    }
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(require_all);
}

fn write_errors(schemas: &mut Value) {
    schemas["Error"] = json!({
        "type": "object", "required": ["detail"],
        "properties": {
            "detail": {"type": "string", "description": "One clear sentence"},
            "provider": {"type": "string", "description": "Who refused, where it was not this service"},
            "provider_status": {"type": "integer", "description": "The provider's own code"},
        },
    });
    schemas["Invalid"] = json!({
        "type": "object", "required": ["detail"],
        "properties": {"detail": {"type": "array", "items": {
            "type": "object", "required": ["loc", "msg", "type"],
            "properties": {
                "loc": {"type": "array", "items": {"type": "string"}, "minItems": 1,
                        "description": "path, query or body, and the field"},
                "msg": {"type": "string"}, "type": {"type": "string", "examples": ["value_error.missing"]},
            },
        }}},
    });
}

/// Returns the examples, by schema.
pub fn examples() -> &'static Map<String, Value> {
    static EXAMPLES: OnceLock<Map<String, Value>> = OnceLock::new();
    EXAMPLES.get_or_init(|| serde_json::from_str(include_str!("openapi/examples.json")).unwrap_or_default())
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}
