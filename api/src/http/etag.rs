//! Conditional reads: every successful read carries an `ETag` of its content, and `If-None-Match` with that
//! tag gets a 304.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::http::error::ApiError;
use crate::http::pagination::{NEXT_CURSOR, TOTAL_COUNT, TOTAL_RELATION};

/// Answers 304 to a read whose content the client has already.
pub(crate) async fn conditional(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let known: Vec<_> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    // A streamed body has no known size, and gets no tag.
    if !is_read || response.status() != StatusCode::OK || response.body().size_hint().exact().is_none() {
        return response;
    }
    tagged(response, known).await
}

async fn tagged(response: Response, known: Vec<HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return ApiError::Internal.into_response();
    };
    let tag = tag(&parts.headers, &bytes);
    let matched = known.iter().any(|known| matches(known, &tag));
    if let Ok(value) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, value);
    }
    // A private cache may store the response, and must revalidate it every time.
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if matched {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The field that every poll changes in every row. The content is the same when nothing else changes.
const CONFIRMED_AT: &str = "\"last_synced_at\":\"";

/// Returns a weak tag, because compression may change the bytes but not the content. The total, the links
/// and the cursor of a list belong to its content.
fn tag(headers: &HeaderMap, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for name in [TOTAL_COUNT, TOTAL_RELATION, header::LINK, NEXT_CURSOR] {
        hash.update(headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
        hash.update([0]);
    }
    hash_content(&mut hash, body);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
}

/// Hashes a body without the times at which its rows were confirmed. In a text, the quotes would be escaped.
fn hash_content(hash: &mut Sha256, body: &[u8]) {
    let mut rest = str::from_utf8(body).unwrap_or_default();
    if rest.is_empty() {
        return hash.update(body);
    }
    while let Some((before, time)) = rest.split_once(CONFIRMED_AT) {
        hash.update(before);
        rest = time.split_once('"').map_or("", |(_, rest)| rest);
    }
    hash.update(rest);
}

fn matches(known: &HeaderValue, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let known = known.to_str().unwrap_or_default();
    known.trim() == "*" || known.split(',').any(|known| bare(known) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_accepts_lists_weak_tags_and_the_wildcard() {
        let tag = "W/\"abc\"";
        for known in ["\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert!(matches(&HeaderValue::from_static(known), tag), "{known}");
        }
        for known in ["", "abc", "\"ab\"", "W/\"abcd\""] {
            assert!(!matches(&HeaderValue::from_static(known), tag), "{known}");
        }
    }

    #[test]
    fn the_time_of_the_last_poll_is_no_part_of_the_tag() {
        let row = |id: u8, at: &str| format!(r#"[{{"id":{id},"last_synced_at":"{at}","x":1}},{{"id":2}}]"#);
        let of = |row: String| tag(&HeaderMap::new(), row.as_bytes());
        assert_eq!(of(row(1, "2026-01-01T00:00:00Z")), of(row(1, "2026-01-01T00:00:30Z")));
        assert_ne!(of(row(1, "2026-01-01T00:00:00Z")), of(row(3, "2026-01-01T00:00:00Z")));
        let note = |text: &str| format!(r#"{{"note":"\"last_synced_at\":\"{text}\""}}"#);
        assert_ne!(of(note("a")), of(note("b")));
        assert_ne!(tag(&HeaderMap::new(), b"\xff\x00"), tag(&HeaderMap::new(), b"\xff\x01"));
    }

    #[test]
    fn total_count_is_part_of_the_tag() {
        let total = |n: i64| HeaderMap::from_iter([(TOTAL_COUNT, HeaderValue::from(n))]);
        assert_ne!(tag(&total(1), b"[]"), tag(&total(2), b"[]"));
        assert_eq!(tag(&total(1), b"[]"), tag(&total(1), b"[]"));
    }
}
