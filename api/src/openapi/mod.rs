//! The OpenAPI document: what the routes and their types say, completed by what holds for all of them: path
//! parameters, keys, headers, errors, links and examples.

mod inputs;
mod links;
mod words;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;
pub use words::{
    ActionWord, Activity, CriticalityWord, EventKind, EventStatus, JsonObject, Moment, Person, PipelineOrder,
    PipelineStatus, Report, RoleWord, RunKind, RunOrder, RunStatus, SyncStatusWord, SyncTriggerWord,
    TaskStatus, ViaWord,
};

use crate::routes::{self, BASE};

/// The whole document.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| complete(&routes::described()))
}

fn complete(described: &OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"] = json!({
        "title": "Orchestration API", "version": env!("CARGO_PKG_VERSION"),
        "description": "Pipelines, runs and task runs of workflow orchestrators, by space. Every path below \
            `/api/v1.0` needs an API key. A request may carry `X-Request-Id` and `traceparent` (W3C trace context): both are \
            found in the log, and the trace on everything that the request brings about.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["servers"] = json!([{"url": "/"}]);
    complete_schemas(&mut document);
    document["components"]["headers"] = header_components();
    document["components"]["responses"] = error_components();
    document["components"]["securitySchemes"] = json!({"key": {
        "type": "http", "scheme": "bearer", "description": "An API key, `qk_…`"}});
    let paths = document["paths"].as_object_mut();
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    links::add(&mut document["paths"]);
    document
}

/// What is answered always has all its fields, what is asked says what it may hold; examples stand with their schemas.
fn complete_schemas(document: &mut Value) {
    let mut schemas = document["components"]["schemas"].take();
    write_errors(&mut schemas);
    inputs::write(&mut schemas);
    let asked = inputs::asked(&document["paths"], &schemas);
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        match asked.contains(name) {
            true => inputs::limit_text(schema),
            false if name == "Error" => {}
            false => require_all(schema),
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
                "loc": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "path, query or body, and the field"},
                "msg": {"type": "string"}, "type": {"type": "string", "examples": ["value_error.missing"]},
            },
        }}},
    });
}

/// An example of each schema that has one.
pub fn examples() -> &'static Map<String, Value> {
    static EXAMPLES: OnceLock<Map<String, Value>> = OnceLock::new();
    EXAMPLES.get_or_init(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default())
}

/// What a stream looks like.
const STREAM: &str = include_str!("stream.txt");

/// Adds to one operation what its path and method say of it.
fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    parameters.splice(0..0, path_parameters(path));
    let responses = operation["responses"].as_object().cloned().unwrap_or_default();
    // What goes on for ever has no tag.
    let streams = responses.get("200").is_some_and(|good| good["content"]["text/event-stream"].is_object());
    let (keyed, reads) = (path.starts_with(BASE), method == "get" && !streams);
    let is_list = responses
        .get("200")
        .is_some_and(|good| good["content"]["application/json"]["schema"]["type"] == "array");
    if is_list {
        parameters.extend(paging());
    }
    parameters.iter_mut().filter(|parameter| parameter["in"] == "query").for_each(inputs::limit_text);
    if reads {
        parameters.push(header_parameter(
            "If-None-Match",
            "The ETag of an earlier answer; 304 if nothing has changed",
        ));
    }
    parameters.push(header_parameter(
        "X-Request-Id",
        "A name for this request; up to 128 plain characters, else one is made",
    ));
    let told = Told { keyed, reads, is_list, has_place: PLACED.iter().any(|end| path.ends_with(end)) };
    let mut all = Map::new();
    for (code, mut response) in responses {
        response["headers"] = headers(&told, &code);
        if streams && code == "200" {
            response["content"]["text/event-stream"]["example"] = json!(STREAM);
        }
        if !code.starts_with('2') {
            response["content"] = json!({"application/json": {"schema": refusal(&code)}});
        }
        all.insert(code, response);
    }
    let body = operation.get_mut("requestBody").map(require_body).is_some();
    let checked = body
        || parameters.iter().any(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default();
            parameter["in"] == "query" || parameter["in"] == "path" && name.ends_with("_id")
        });
    let may = |code: &str| match code {
        "304" => reads,
        "400" | "413" => body,
        "403" => keyed && (method != "get" || path.ends_with("/audit")) && !path.ends_with("/watch"),
        "404" => path.contains('{'),
        "422" => checked,
        _ => keyed,
    };
    for (code, name, _) in ERRORS.iter().filter(|(code, _, _)| may(code)) {
        all.entry((*code).to_owned()).or_insert_with(|| reference("responses", name));
    }
    operation["responses"] = Value::Object(all);
    operation["operationId"] = json!(operation_id(path, method));
    operation["tags"] = json!([tag(path)]);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if keyed {
        operation["security"] = json!([{"key": []}]);
    }
}

/// Below the space, what the path says: `get_runs_by_run_id`.
fn operation_id(path: &str, method: &str) -> String {
    let below = path.strip_prefix(BASE).unwrap_or(path);
    let words =
        below.split('/').filter(|word| !["", "spaces", "{slug}", "orchestration", "catalog"].contains(word));
    let words = words.map(|word| match word.strip_prefix('{') {
        Some(parameter) => format!("_by_{}", parameter.trim_end_matches('}')),
        None => format!("_{}", word.replace(['-', '.'], "_")),
    });
    format!("{method}{}", words.collect::<String>())
}

fn tag(path: &str) -> &'static str {
    match path {
        path if !path.starts_with(BASE) => "Service",
        path if path.ends_with("/audit") => "Audit",
        path if path.contains("comments") => "Comments",
        path if path.ends_with("/events") => "Events",
        path if path.contains("/sync") => "Syncs",
        path if path.contains("/catalog/") => "Connectors",
        path if path.contains("/runs") || path.contains("/task-runs") => "Runs",
        path if path.contains("/pipelines") => "Pipelines",
        _ => "Spaces",
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let schema = |name: &str| match name.strip_suffix("_id") {
        Some(_) => json!({"type": "string", "format": "uuid"}),
        None => json!({"type": "string"}),
    };
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema(name)})).collect()
}

const WHICH_PAGE: &str = "Which page, from 1; one past the end is empty. A page is a cut through the list as it stands: \
    what enters the list before it makes rows come again, known by their id, and what leaves makes it pass rows over";

fn paging() -> [Value; 2] {
    let parameter = |name: &str, description: &str, default: i64| {
        json!({"name": name, "in": "query", "required": false, "description": description,
               "schema": {"type": "integer", "minimum": 1, "default": default}})
    };
    [parameter("page", WHICH_PAGE, 1), parameter("size", "Most things on a page; more than 500 is 500", 100)]
}

/// A body must be there unless it may be null as well.
fn require_body(body: &mut Value) {
    let either = &body["content"]["application/json"]["schema"]["oneOf"];
    let is_optional = either.as_array().into_iter().flatten().any(|kind| kind["type"] == "null");
    body["required"] = json!(!is_optional);
}

fn header_parameter(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}})
}

/// Every header of an answer: its name, its type, what it says.
const HEADERS: [(&str, &str, &str); 14] = [
    ("X-Request-Id", "string", "The caller's own, when sent and sane"),
    (
        "X-RateLimit-Limit",
        "integer",
        "Requests in the window that is nearest to its limit; absent without limits",
    ),
    ("X-RateLimit-Remaining", "integer", "Requests left in it"),
    ("X-RateLimit-Reset", "integer", "When it ends, in seconds since 1970"),
    ("ETag", "string", "Of what is said, for If-None-Match"),
    ("X-Total-Count", "integer", "Things on all pages"),
    ("X-Page", "integer", "This page"),
    ("X-Page-Size", "integer", "The size in force"),
    ("X-Total-Pages", "integer", "How many pages there are"),
    ("Link", "string", "first, prev, next and last, where they exist (RFC 8288)"),
    ("Location", "string", "Where it can be read"),
    ("WWW-Authenticate", "string", "Bearer"),
    ("Retry-After", "integer", "Seconds"),
    ("Cache-Control", "string", "private, no-cache: to be asked for each time"),
];

/// Every error that any route may answer: its code, its name, what it says.
const ERRORS: [(&str, &str, &str); 10] = [
    ("304", "NotModified", "Nothing has changed since the ETag of If-None-Match"),
    ("400", "BadRequest", "The body is not JSON, or the thing is of a kind that cannot be asked this"),
    ("401", "Unauthorized", "No valid API key"),
    ("403", "Forbidden", "The role in the space is too low"),
    ("404", "NotFound", "No such space for this key, or no such thing in it"),
    ("413", "TooLarge", "The body is too large"),
    ("422", "InvalidInput", "The input is invalid; every fault is told"),
    ("429", "TooManyRequests", "Too many requests with this key"),
    ("500", "InternalError", "Something went wrong here"),
    ("503", "Unavailable", "A part of the service is away"),
];

fn header_components() -> Value {
    let component = |&(name, kind, description): &(&str, &str, &str)| {
        let required = !name.starts_with("X-RateLimit");
        (name.to_owned(), json!({"description": description, "required": required, "schema": {"type": kind}}))
    };
    Value::Object(HEADERS.iter().map(component).collect())
}

fn error_components() -> Value {
    let component = |&(code, name, description): &(&str, &str, &str)| {
        let told = Told { keyed: true, reads: true, is_list: false, has_place: false };
        let mut response = json!({"description": description, "headers": headers(&told, code)});
        if code != "304" {
            let schema = reference("schemas", if code == "422" { "Invalid" } else { "Error" });
            response["content"] = json!({"application/json": {"schema": schema}});
        }
        (name.to_owned(), response)
    };
    Value::Object(ERRORS.iter().map(component).collect())
}

/// The body of a refusal with this code that an operation describes itself: a 422 of its own is the provider's.
fn refusal(code: &str) -> Value {
    match code {
        "422" => json!({"anyOf": [reference("schemas", "Invalid"), reference("schemas", "Error")]}),
        _ => reference("schemas", "Error"),
    }
}

/// The ends of the paths whose answers say where what was made can be read.
const PLACED: [&str; 2] = ["/sync", "/connectors"];

/// What the headers of an answer depend on.
struct Told {
    keyed: bool,
    reads: bool,
    is_list: bool,
    has_place: bool,
}

/// The headers of an answer with this code.
fn headers(of: &Told, code: &str) -> Value {
    let told = |name: &str| match name {
        "X-Request-Id" => true,
        "ETag" | "Cache-Control" => of.reads && matches!(code, "200" | "304"),
        "X-Total-Count" | "X-Page" | "X-Page-Size" | "X-Total-Pages" | "Link" => of.is_list && code == "200",
        "Location" => of.has_place && matches!(code, "201" | "202"),
        "WWW-Authenticate" => code == "401",
        "Retry-After" => matches!(code, "429" | "503"),
        _ => of.keyed,
    };
    let names = HEADERS.iter().map(|(name, _, _)| *name).filter(|name| told(name));
    Value::Object(names.map(|name| (name.to_owned(), reference("headers", name))).collect())
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}
