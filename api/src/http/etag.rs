//! Conditional reads: every successful read carries an `ETag` of what it says, and `If-None-Match` with it answers 304.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::http::error::ApiError;
use crate::http::pagination;

/// Answers a read that the client already has with 304.
pub async fn conditional(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known: Vec<_> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    // What is streamed has no size beforehand, and no tag.
    if !reads || response.status() != StatusCode::OK || response.body().size_hint().exact().is_none() {
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
    // A cache may keep it for this client alone, and has to ask each time.
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if matched {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Weak, since compression may change the bytes and not what they say. A list's total is part of what it says.
fn tag(headers: &HeaderMap, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for name in [pagination::TOTAL_COUNT, header::LINK] {
        hash.update(headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
        hash.update([0]);
    }
    hash.update(body);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
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
    fn a_list_of_tags_matches_whatever_their_strength() {
        let tag = "W/\"abc\"";
        for known in ["\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert!(matches(&HeaderValue::from_static(known), tag), "{known}");
        }
        for known in ["", "abc", "\"ab\"", "W/\"abcd\""] {
            assert!(!matches(&HeaderValue::from_static(known), tag), "{known}");
        }
    }

    #[test]
    fn a_changed_total_changes_the_tag() {
        let total = |n: i64| HeaderMap::from_iter([(pagination::TOTAL_COUNT, HeaderValue::from(n))]);
        assert_ne!(tag(&total(1), b"[]"), tag(&total(2), b"[]"));
        assert_eq!(tag(&total(1), b"[]"), tag(&total(1), b"[]"));
    }
}
