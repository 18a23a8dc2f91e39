//! Checks every response that a test receives against the OpenAPI document: its status is declared, its
//! headers are present, and its body conforms to the schema.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::{Method, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::response::TestResponse;

/// Panics if a response contradicts the document.
pub(crate) fn check(method: &Method, path: &str, response: &TestResponse) {
    let location = format!("{method} {path}");
    let code = response.status.as_u16();
    assert!(response.headers.contains_key("x-request-id"), "{location}: {code} has no id");
    check_formats(&location, "", &response.body);
    for error in response.body["detail"].as_array().into_iter().flatten() {
        let first = error["loc"][0].as_str().unwrap_or_default();
        assert!(
            ["path", "query", "body"].contains(&first),
            "{location}: a field error begins with {first:?}"
        );
    }
    let operation = find(path).map(|methods| &methods[method_in_document(method)]);
    let Some(operation) = operation.filter(|operation| operation.is_object()) else {
        let is_json_error = [404, 405].contains(&code) && response.body["detail"].is_string();
        // Preflights succeed for every path, unknown ones included.
        assert!(
            is_json_error || *method == Method::OPTIONS || *method == Method::HEAD,
            "{location}: {code} {}",
            response.body
        );
        return;
    };
    let responses = &operation["responses"];
    let declared = [code.to_string(), "default".to_owned()];
    let declared = declared
        .iter()
        .map(|code| resolve(&responses[code]))
        .find(|declared_response| declared_response.is_object());
    let declared_response =
        declared.unwrap_or_else(|| panic!("{location}: {code} is not declared ({})", response.body));
    for (name, header) in declared_response["headers"].as_object().into_iter().flatten() {
        let required = resolve(header)["required"] == true;
        assert!(!required || response.headers.contains_key(name), "{location}: {code} comes without {name}");
    }
    check_body(&location, declared_response, response, *method == Method::HEAD);
}

fn check_body(location: &str, declared_response: &Value, response: &TestResponse, is_head: bool) {
    let code = response.status.as_u16();
    let Some(contents) = declared_response["content"].as_object().filter(|_| !is_head) else {
        return assert!(response.body.is_null(), "{location}: {code} has a body: {}", response.body);
    };
    let content_type =
        response.header(header::CONTENT_TYPE.as_str()).split(';').next().unwrap_or_default().to_owned();
    let (declared, content) = contents.iter().next().unwrap();
    assert!(
        *declared == content_type || declared == "*/*",
        "{location}: {code} is {content_type}, not {declared}"
    );
    if content_type == "application/json" {
        let schema = &content["schema"];
        let errors: Vec<_> = validator(schema)
            .iter_errors(&response.body)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{location}: {code} does not fit its schema: {errors:?}\n{}",
            response.body
        );
    }
}

/// Asserts that times end in `Z` and that ids are in lower case.
fn check_formats(location: &str, name: &str, value: &Value) {
    match value {
        Value::String(text) if name.ends_with("_at") => {
            assert!(text.ends_with('Z'), "{location}: {name} is {text}")
        }
        Value::String(text) if name.ends_with("id") && uuid::Uuid::try_parse(text).is_ok() => {
            assert_eq!(*text, text.to_lowercase(), "{location}: {name}");
        }
        Value::Array(items) => items.iter().for_each(|item| check_formats(location, name, item)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| check_formats(location, name, value)),
        _ => {}
    }
}

/// The operations whose path template matches a requested path.
fn find(path: &str) -> Option<&'static Value> {
    let requested: Vec<_> = path.split('?').next().unwrap_or_default().split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        let alike = |(part, word): (&&str, &&str)| part.starts_with('{') && !word.is_empty() || part == word;
        parts.len() == requested.len() && parts.iter().zip(&requested).all(alike)
    };
    let paths = api::server::document()["paths"].as_object().unwrap();
    paths.iter().find(|(template, _)| fits(template)).map(|(_, methods)| methods)
}

fn method_in_document(method: &Method) -> String {
    match *method {
        Method::HEAD => "get".to_owned(),
        _ => method.as_str().to_lowercase(),
    }
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => api::server::document().pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// The validator of a schema, built once.
fn validator(schema: &Value) -> Arc<Validator> {
    static BUILT: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = built.entry(schema.to_string()).or_insert_with(|| {
        let whole = json!({"allOf": [schema], "components": api::server::document()["components"]});
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Arc::new(options.build(&whole).unwrap())
    });
    validator.clone()
}
