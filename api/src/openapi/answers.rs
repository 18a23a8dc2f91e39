//! What answers are made of, whatever they answer: their headers and the errors that any route may tell.

use serde_json::{Value, json};

use super::reference;

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
pub const ERRORS: [(&str, &str, &str); 10] = [
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

pub fn header_components() -> Value {
    let component = |&(name, kind, description): &(&str, &str, &str)| {
        let required = !name.starts_with("X-RateLimit");
        (name.to_owned(), json!({"description": description, "required": required, "schema": {"type": kind}}))
    };
    Value::Object(HEADERS.iter().map(component).collect())
}

pub fn error_components() -> Value {
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
pub fn refusal(code: &str) -> Value {
    match code {
        "422" => json!({"anyOf": [reference("schemas", "Invalid"), reference("schemas", "Error")]}),
        _ => reference("schemas", "Error"),
    }
}

/// What the headers of an answer depend on.
pub struct Told {
    /// Whether it takes a key.
    pub keyed: bool,
    /// Whether it is read and comes to an end.
    pub reads: bool,
    pub is_list: bool,
    /// Whether it says where what was made can be read.
    pub has_place: bool,
}

/// The headers of an answer with this code.
pub fn headers(of: &Told, code: &str) -> Value {
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
