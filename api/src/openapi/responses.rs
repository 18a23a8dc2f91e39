//! The parts that responses share: their headers, and the errors that any route may return.

use serde_json::{Value, json};

use super::reference;

/// Every response header: its name, its type, its description.
const HEADERS: [(&str, &str, &str); 17] = [
    ("X-Request-Id", "string", "The caller's own, when sent and sane"),
    (
        "X-RateLimit-Limit",
        "integer",
        "Requests in the window that is nearest to its limit; absent without limits",
    ),
    ("X-RateLimit-Remaining", "integer", "Requests left in it"),
    ("X-RateLimit-Reset", "integer", "When it ends, in seconds since 1970"),
    ("ETag", "string", "Of what is said, for If-None-Match"),
    ("X-Total-Count", "integer", "Rows on all pages, or at least so many, as X-Total-Relation says"),
    (
        "X-Total-Relation",
        "string",
        "eq where X-Total-Count is exact; gte where it is a lower bound, of more than 10,000 rows",
    ),
    ("X-Page", "integer", "The number of this page; absent with cursor"),
    ("X-Page-Size", "integer", "The size in force"),
    ("X-Total-Pages", "integer", "How many pages there are, or at least; absent with cursor"),
    ("X-Next-Cursor", "string", "The value of cursor for the next page, if there is one"),
    (
        "Link",
        "string",
        "first, prev, next and last, where they exist (RFC 8288); next alone with cursor, or where all \
         would be longer than 4,000 bytes; absent where that is longer, too",
    ),
    ("Location", "string", "Where it can be read"),
    ("Set-Cookie", "string", "The session; empty once it has ended"),
    ("WWW-Authenticate", "string", "Bearer"),
    ("Retry-After", "integer", "Seconds"),
    ("Cache-Control", "string", "private, no-cache: to be asked for each time"),
];

/// The headers that a page of a list may come without.
const OPTIONAL_HEADERS: [&str; 4] = ["X-Page", "X-Total-Pages", "X-Next-Cursor", "Link"];

/// Every error that any route may return: its status code, its name, its description.
pub(super) const ERRORS: [(&str, &str, &str); 11] = [
    ("304", "NotModified", "Nothing has changed since the ETag of If-None-Match"),
    ("400", "BadRequest", "The body is not JSON, or the thing is of a kind that cannot be asked this"),
    ("401", "Unauthorized", "No valid API key, and no valid session"),
    (
        "403",
        "Forbidden",
        "The role in the space is too low, the key only reads, or the write comes from a foreign page",
    ),
    ("404", "NotFound", "No such space for this key, or no such thing in it"),
    ("413", "TooLarge", "The body is too large"),
    ("415", "NotJson", "A page of another origin sends what is not declared as JSON"),
    ("422", "InvalidInput", "The input is invalid; every fault is reported"),
    ("429", "TooManyRequests", "Too many requests with this key"),
    ("500", "InternalError", "Something went wrong here"),
    ("503", "Unavailable", "A part of the service is away"),
];

pub(super) fn header_components() -> Value {
    let component = |&(name, kind, description): &(&str, &str, &str)| {
        let required = !name.starts_with("X-RateLimit") && !OPTIONAL_HEADERS.contains(&name);
        (name.to_owned(), json!({"description": description, "required": required, "schema": {"type": kind}}))
    };
    Value::Object(HEADERS.iter().map(component).collect())
}

pub(super) fn error_components() -> Value {
    let component = |&(code, name, description): &(&str, &str, &str)| {
        let traits =
            ResponseTraits { has_key: true, is_read: true, is_list: false, ..ResponseTraits::default() };
        let mut response = json!({"description": description, "headers": headers(&traits, code)});
        if code != "304" {
            let schema = reference("schemas", if code == "422" { "Invalid" } else { "Error" });
            response["content"] = json!({"application/json": {"schema": schema}});
        }
        (name.to_owned(), response)
    };
    Value::Object(ERRORS.iter().map(component).collect())
}

/// Returns the body of an error that an operation describes itself. Its 422 may come from the provider, too.
pub(super) fn error_schema(code: &str) -> Value {
    match code {
        "422" => json!({"anyOf": [reference("schemas", "Invalid"), reference("schemas", "Error")]}),
        _ => reference("schemas", "Error"),
    }
}

/// The traits of an operation and its response that determine the headers.
#[derive(Clone, Copy, Default)]
pub(super) struct ResponseTraits {
    /// The operation needs a key or a session.
    pub has_key: bool,
    /// The operation reads, and its response ends.
    pub is_read: bool,
    pub is_list: bool,
    /// The response names the location of what was created.
    pub has_location: bool,
    /// The response is a page that names the next one, and no list.
    pub has_cursor: bool,
    /// The response gives a browser its session, or takes it away.
    pub sets_cookie: bool,
}

/// Returns the headers of a response with this status code.
pub(super) fn headers(traits: &ResponseTraits, code: &str) -> Value {
    let applies = |name: &str| match name {
        "X-Request-Id" => true,
        "ETag" | "Cache-Control" => traits.is_read && matches!(code, "200" | "304"),
        "X-Next-Cursor" => (traits.is_list || traits.has_cursor) && code == "200",
        "X-Total-Count" | "X-Total-Relation" | "X-Page" | "X-Page-Size" | "X-Total-Pages" | "Link" => {
            traits.is_list && code == "200"
        }
        "Location" => traits.has_location,
        "Set-Cookie" => traits.sets_cookie,
        "WWW-Authenticate" => code == "401",
        "Retry-After" => matches!(code, "429" | "503"),
        _ => traits.has_key,
    };
    let names = HEADERS.iter().map(|(name, _, _)| *name).filter(|name| applies(name));
    Value::Object(names.map(|name| (name.to_owned(), reference("headers", name))).collect())
}
