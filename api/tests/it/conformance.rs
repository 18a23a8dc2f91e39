//! Holds every answer that any test gets against the document: its code is declared, its headers are there, and its
//! body fits the schema.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::{Method, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::TestResponse;

/// Panics where an answer is not what the document says.
pub fn check(method: &Method, path: &str, answer: &TestResponse) {
    let place = format!("{method} {path}");
    let code = answer.status.as_u16();
    assert!(answer.headers.contains_key("x-request-id"), "{place}: {code} has no id");
    check_words(&place, "", &answer.body);
    for fault in answer.body["detail"].as_array().into_iter().flatten() {
        let begins = fault["loc"][0].as_str().unwrap_or_default();
        assert!(["path", "query", "body"].contains(&begins), "{place}: a fault begins with {begins:?}");
    }
    let operation = find(path).map(|methods| &methods[method_in_document(method)]);
    let Some(operation) = operation.filter(|operation| operation.is_object()) else {
        let told = [404, 405].contains(&code) && answer.body["detail"].is_string();
        // A preflight is answered for every path, known or not.
        assert!(
            told || *method == Method::OPTIONS || *method == Method::HEAD,
            "{place}: {code} {}",
            answer.body
        );
        return;
    };
    let responses = &operation["responses"];
    let declared = [code.to_string(), "default".to_owned()];
    let declared =
        declared.iter().map(|code| resolve(&responses[code])).find(|response| response.is_object());
    let response = declared.unwrap_or_else(|| panic!("{place}: {code} is not declared ({})", answer.body));
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let required = resolve(header)["required"] == true;
        assert!(!required || answer.headers.contains_key(name), "{place}: {code} comes without {name}");
    }
    check_body(&place, response, answer, *method == Method::HEAD);
}

fn check_body(place: &str, response: &Value, answer: &TestResponse, is_head: bool) {
    let code = answer.status.as_u16();
    let Some(kinds) = response["content"].as_object().filter(|_| !is_head) else {
        return assert!(answer.body.is_null(), "{place}: {code} has a body: {}", answer.body);
    };
    let kind = answer.header(header::CONTENT_TYPE.as_str()).split(';').next().unwrap_or_default().to_owned();
    let (declared, content) = kinds.iter().next().unwrap();
    assert!(*declared == kind || declared == "*/*", "{place}: {code} is {kind}, not {declared}");
    if kind == "application/json" {
        let schema = &content["schema"];
        let faults: Vec<_> = validator(schema)
            .iter_errors(&answer.body)
            .map(|fault| format!("{} {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{place}: {code} does not fit its schema: {faults:?}\n{}", answer.body);
    }
}

/// Times end in `Z`, and ids are written in lower case.
fn check_words(place: &str, name: &str, value: &Value) {
    match value {
        Value::String(text) if name.ends_with("_at") => {
            assert!(text.ends_with('Z'), "{place}: {name} is {text}")
        }
        Value::String(text) if name.ends_with("id") && uuid::Uuid::try_parse(text).is_ok() => {
            assert_eq!(*text, text.to_lowercase(), "{place}: {name}");
        }
        Value::Array(items) => items.iter().for_each(|item| check_words(place, name, item)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| check_words(place, name, value)),
        _ => {}
    }
}

/// The operations of a path as it was asked for.
fn find(path: &str) -> Option<&'static Value> {
    let asked: Vec<_> = path.split('?').next().unwrap_or_default().split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        let alike = |(part, word): (&&str, &&str)| part.starts_with('{') && !word.is_empty() || part == word;
        parts.len() == asked.len() && parts.iter().zip(&asked).all(alike)
    };
    let paths = api::openapi::document()["paths"].as_object().unwrap();
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
        Some(reference) => api::openapi::document().pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Built once for every schema.
fn validator(schema: &Value) -> Arc<Validator> {
    static BUILT: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = built.entry(schema.to_string()).or_insert_with(|| {
        let whole = json!({"allOf": [schema], "components": api::openapi::document()["components"]});
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Arc::new(options.build(&whole).unwrap())
    });
    validator.clone()
}
