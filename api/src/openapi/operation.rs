//! One operation of the document, completed by what its path and method say of it.

use serde_json::{Map, Value, json};

use super::answers::{self, ERRORS, Told};
use super::{inputs, reference};
use crate::routes::BASE;

/// What a stream looks like.
const STREAM: &str = include_str!("stream.txt");

/// The ends of the paths whose answers say where what was made can be read.
const PLACED: [&str; 2] = ["/sync", "/connectors"];

/// Adds what holds for every operation of its kind.
pub fn complete(path: &str, method: &str, operation: &mut Value) {
    let told = told(path, method, &operation["responses"]["200"]);
    let body = operation.get_mut("requestBody").map(require_body).is_some();
    let parameters = parameters(path, operation["parameters"].take(), &told);
    let checked = body || parameters.iter().any(is_checked);
    let may = |code: &str| match code {
        "304" => told.reads,
        "400" | "413" => body,
        "403" => told.keyed && (method != "get" || path.ends_with("/audit")) && !path.ends_with("/watch"),
        "404" => path.contains('{'),
        "422" => checked,
        _ => told.keyed,
    };
    let mut responses = responses(operation["responses"].take(), &told);
    for (code, name, _) in ERRORS.iter().filter(|(code, _, _)| may(code)) {
        responses.entry((*code).to_owned()).or_insert_with(|| reference("responses", name));
    }
    operation["responses"] = Value::Object(responses);
    operation["operationId"] = json!(operation_id(path, method));
    operation["tags"] = json!([tag(path)]);
    operation["parameters"] = Value::Array(parameters);
    if told.keyed {
        operation["security"] = json!([{"key": []}]);
    }
}

fn told(path: &str, method: &str, good: &Value) -> Told {
    Told {
        keyed: path.starts_with(BASE),
        // What goes on for ever has no tag.
        reads: method == "get" && !streams(good),
        is_list: good["content"]["application/json"]["schema"]["type"] == "array",
        has_place: PLACED.iter().any(|end| path.ends_with(end)),
    }
}

fn streams(good: &Value) -> bool {
    good["content"]["text/event-stream"].is_object()
}

fn parameters(path: &str, described: Value, told: &Told) -> Vec<Value> {
    let mut parameters = path_parameters(path);
    parameters.extend(described.as_array().into_iter().flatten().cloned());
    if told.is_list {
        parameters.extend(paging());
    }
    parameters.iter_mut().filter(|parameter| parameter["in"] == "query").for_each(inputs::limit_text);
    if told.reads {
        parameters.push(header_parameter(
            "If-None-Match",
            "The ETag of an earlier answer; 304 if nothing has changed",
        ));
    }
    parameters.push(header_parameter(
        "X-Request-Id",
        "A name for this request; up to 128 plain characters, else one is made",
    ));
    parameters
}

/// Whether a parameter may be found invalid.
fn is_checked(parameter: &Value) -> bool {
    let name = parameter["name"].as_str().unwrap_or_default();
    parameter["in"] == "query" || parameter["in"] == "path" && name.ends_with("_id")
}

fn responses(described: Value, told: &Told) -> Map<String, Value> {
    let mut all = described.as_object().cloned().unwrap_or_default();
    for (code, response) in &mut all {
        response["headers"] = answers::headers(told, code);
        if streams(response) {
            response["content"]["text/event-stream"]["example"] = json!(STREAM);
        }
        if !code.starts_with('2') {
            response["content"] = json!({"application/json": {"schema": answers::refusal(code)}});
        }
    }
    all
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
