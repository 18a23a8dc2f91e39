//! Completes one operation of the document with what follows from its path, method and parameters.

use serde_json::{Map, Value, json};

use super::responses::{self, ERRORS, ResponseTraits};
use super::{inputs, reference};
use crate::http::BASE_PATH;

/// The paths below the base path that need neither a key nor a session.
const OPEN_PATHS: [&str; 4] = [
    "/api/v1.0/session/providers",
    "/api/v1.0/session/oidc",
    "/api/v1.0/session/oidc/callback",
    "/api/v1.0/session/oidc/sign-out",
];
/// The operation that exchanges a key in its body: its answers are those of an operation with a key.
const SIGN_IN: (&str, &str) = ("post", "/api/v1.0/session");

/// An example of an event stream.
const STREAM: &str = include_str!("stream.txt");

/// Adds the parameters, errors and headers that all operations of this kind share.
pub(super) fn complete(path: &str, method: &str, operation: &mut Value) {
    let traits = traits(path, method, &operation["responses"]["200"]);
    let has_body = operation.get_mut("requestBody").map(require_body).is_some();
    let parameters = parameters(path, operation["parameters"].take(), &traits);
    let is_validated = has_body || parameters.iter().any(is_validated);
    let may_return = |code: &str| match code {
        "304" => traits.is_read,
        "400" | "413" => has_body,
        "415" => method == "post",
        // A read that needs more than the role viewer declares it itself.
        "403" => traits.has_key && method != "get",
        "404" => path.contains('{'),
        "422" => is_validated,
        _ => traits.has_key,
    };
    let mut responses = responses(operation["responses"].take(), &traits);
    for (code, name, _) in ERRORS.iter().filter(|(code, _, _)| may_return(code)) {
        responses.entry((*code).to_owned()).or_insert_with(|| reference("responses", name));
    }
    operation["responses"] = Value::Object(responses);
    operation["parameters"] = Value::Array(parameters);
    if traits.has_key && (method, path) != SIGN_IN {
        operation["security"] = json!([{"key": []}, {"session": []}]);
    }
}

fn traits(path: &str, method: &str, ok: &Value) -> ResponseTraits {
    let has_key = path.starts_with(BASE_PATH) && !OPEN_PATHS.contains(&path);
    ResponseTraits {
        has_key,
        // A redirect and an endless stream have no entity tag.
        is_read: method == "get" && ok.is_object() && !is_stream(ok),
        is_list: has_key && ok["content"]["application/json"]["schema"]["type"] == "array",
        has_location: false,
        has_cursor: false,
        sets_cookie: false,
    }
}

fn is_stream(response: &Value) -> bool {
    response["content"]["text/event-stream"].is_object()
}

fn parameters(path: &str, declared: Value, traits: &ResponseTraits) -> Vec<Value> {
    let mut parameters = path_parameters(path);
    parameters.extend(declared.as_array().into_iter().flatten().cloned());
    if traits.is_list {
        parameters.extend(paging());
    }
    parameters.iter_mut().filter(|parameter| parameter["in"] == "query").for_each(inputs::limit_text);
    if traits.is_read {
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

/// Returns whether a parameter can be invalid.
fn is_validated(parameter: &Value) -> bool {
    let name = parameter["name"].as_str().unwrap_or_default();
    parameter["in"] == "query" || parameter["in"] == "path" && name.ends_with("_id")
}

fn responses(declared: Value, traits: &ResponseTraits) -> Map<String, Value> {
    let mut all = declared.as_object().cloned().unwrap_or_default();
    for (code, response) in all.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
        let has_location = response["headers"]["Location"].is_object();
        let sets_cookie = response["headers"]["Set-Cookie"].is_object();
        let has_cursor = response["headers"]["X-Next-Cursor"].is_object();
        let traits = ResponseTraits { has_location, has_cursor, sets_cookie, ..*traits };
        response["headers"] = responses::headers(&traits, code);
        if is_stream(response) {
            response["content"]["text/event-stream"]["example"] = json!(STREAM);
        }
        if !code.starts_with(['2', '3']) {
            response["content"] = json!({"application/json": {"schema": responses::error_schema(code)}});
        }
    }
    all
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let schema = |name: &str| match name.strip_suffix("_id") {
        Some(_) => json!({"type": "string", "format": "uuid"}),
        None => json!({"type": "string"}),
    };
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema(name)})).collect()
}

const PAGE_DESCRIPTION: &str = "Which page, from 1; one past the end is empty. The last one ends at row \
    100,000; read on with `cursor`. A page is a cut through the list as it stands: what enters the list \
    before it makes rows come again, known by their id, and what leaves makes it pass rows over";

const CURSOR_DESCRIPTION: &str = "The X-Next-Cursor of a page, to read the one after it, with the same \
    filters and sort: at the same cost at any depth, and without rows that come again or are passed over. \
    `page` is ignored";

fn paging() -> [Value; 3] {
    let number = |default: i64| json!({"type": "integer", "minimum": 1, "default": default});
    let parameter = |name: &str, description: &str, schema: Value| {
        let (place, required) = ("query", false);
        json!({"name": name, "in": place, "required": required, "description": description,
               "schema": schema})
    };
    [
        parameter("page", PAGE_DESCRIPTION, number(1)),
        parameter("size", "Most things on a page; more than 500 is 500", number(100)),
        parameter("cursor", CURSOR_DESCRIPTION, json!({"type": "string"})),
    ]
}

/// Marks a body as required unless it may be null.
fn require_body(body: &mut Value) {
    let either = &body["content"]["application/json"]["schema"]["oneOf"];
    let is_optional = either.as_array().into_iter().flatten().any(|kind| kind["type"] == "null");
    body["required"] = json!(!is_optional);
}

fn header_parameter(name: &str, description: &str) -> Value {
    let schema = json!({"type": "string"});
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema})
}
