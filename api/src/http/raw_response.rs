//! Responses that are written without a router: to requests that are not HTTP, and to connections that are
//! too many. They have the form of all errors.

use axum::http::StatusCode;
use serde_json::json;
use uuid::Uuid;

/// Returns the response with a body instead of an empty one of the HTTP library, which answers malformed
/// heads itself.
pub(crate) fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(head.get(..3)?).ok()?;
    let sentence = match status {
        StatusCode::BAD_REQUEST => "This is no HTTP request",
        StatusCode::URI_TOO_LONG => "The address of the request is too long; ask for less in one request",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The head of the request is too large",
        _ => return None,
    };
    let is_empty = str::from_utf8(head).is_ok_and(|head| head.contains("\r\ncontent-length: 0\r\n"));
    (is_empty && head.ends_with(b"\r\n\r\n")).then(|| closing(status, sentence))
}

/// Returns a response after which the connection is closed.
pub(crate) fn closing(status: StatusCode, sentence: &str) -> Vec<u8> {
    let body = json!({"detail": sentence}).to_string();
    let (length, id) = (body.len(), Uuid::now_v7());
    let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 2\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         x-request-id: {id}\r\n{retry}connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
