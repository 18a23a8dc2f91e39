//! A response of the API under test.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

/// A response whose body was read.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as JSON: a string if it is not JSON, null if it is empty.
    pub body: Value,
}

impl TestResponse {
    /// Asserts the status and returns the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// A header's value, empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The location and type of each field error of a 422.
    pub(crate) fn field_errors(&self) -> Vec<(String, String)> {
        let location = |error: &Value| {
            let parts: Vec<_> =
                error["loc"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            parts.join(".")
        };
        let errors = self.body["detail"].as_array().expect("a list of field errors");
        errors.iter().map(|error| (location(error), error["type"].as_str().unwrap().to_owned())).collect()
    }

    /// The locations of the field errors, sorted.
    pub(crate) fn invalid_fields(&self) -> Vec<String> {
        let mut fields: Vec<_> = self.field_errors().into_iter().map(|(location, _)| location).collect();
        fields.sort();
        fields
    }
}
