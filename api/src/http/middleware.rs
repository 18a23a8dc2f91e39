//! What every request meets on its way in and every response on its way out, whichever route it takes: its id, its
//! log span, its metrics, its time-out, the limit's headers, and an answer even to a panic.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::trace::TraceContext;
use platform::trace;
use tower_http::cors::CorsLayer;
use tracing::Instrument;
use tracing::field::Empty;
use uuid::Uuid;

use crate::auth::Counted;
use crate::auth::rate_limit;
use crate::http::error::ApiError;
use crate::http::pagination;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Describes what is measured here.
pub fn describe() {
    metrics::describe_histogram!(
        "orchestration_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "How long requests took until their answer began, by method, route and status"
    );
}

/// Names, measures and logs a request, as a step of the trace that it came with.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers().get(REQUEST_ID));
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let counted = Counted::default();
    request.extensions_mut().insert(counted.clone());
    // At this level the ids stand on every line, whatever is logged.
    let span = tracing::error_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        trace_id = Empty,
        method,
        route,
        space = Empty,
        user_id = Empty,
    );
    let trace = trace::start(&span, traceparent(request.headers()));
    let mut response = trace::scope(Some(trace), next.run(request)).instrument(span.clone()).await;
    if let Some(standing) = counted.standing() {
        standing.write(response.headers_mut());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16();
    let seconds = begun.elapsed().as_secs_f64();
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.to_string())];
    metrics::histogram!("orchestration_http_request_duration_seconds", &labels).record(seconds);
    span.in_scope(|| note(method, status, seconds));
    response
}

/// What changed something, or failed here, is worth a line; a read is not.
fn note(method: &str, status: u16, seconds: f64) {
    match method {
        _ if status >= 500 => tracing::warn!(status, seconds, "answered"),
        "POST" | "PUT" | "PATCH" | "DELETE" => tracing::info!(status, seconds, "answered"),
        _ => tracing::debug!(status, seconds, "answered"),
    }
}

/// Where the caller's own trace stands; two or none that makes sense count as none.
fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut given = headers.get_all(contract::trace::TRACEPARENT).iter();
    let first = given.next()?.to_str().ok()?.parse().ok()?;
    given.next().is_none().then_some(first)
}

/// The caller's own id when it is a sane one: short, and nothing that a log could stumble over.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
    };
    let own = || HeaderValue::try_from(Uuid::now_v7().to_string());
    match given.filter(sane) {
        Some(id) => id.clone(),
        None => own().unwrap_or(HeaderValue::from_static("none")),
    }
}

/// A client may send any word; only the known ones become a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// When a request came in: from here on it may take as long as it is allowed.
#[derive(Clone, Copy)]
pub struct Begun(pub tokio::time::Instant);

/// Gives a request up after so long.
pub async fn time_out(State(limit): State<Duration>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Begun(tokio::time::Instant::now()));
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(seconds = limit.as_secs(), "a request took too long");
            ApiError::Unavailable("The service does not answer").into_response()
        }
    }
}

/// The answer to a request whose handler panicked.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::Internal.into_response()
}

/// Lets pages of these origins use the API from a browser.
pub fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static(contract::trace::TRACEPARENT),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            pagination::TOTAL_COUNT,
            pagination::PAGE,
            pagination::PAGE_SIZE,
            pagination::TOTAL_PAGES,
            rate_limit::LIMIT,
            rate_limit::REMAINING,
            rate_limit::RESET,
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_another_is_replaced() {
        let kept = HeaderValue::from_static("trace-1.2:3");
        assert_eq!(request_id(Some(&kept)), kept);
        let long = HeaderValue::try_from("x".repeat(129)).unwrap();
        let binary = HeaderValue::from_bytes(b"\xff").unwrap();
        for bad in ["", "a b", "\"", "{}"].map(HeaderValue::from_static).iter().chain([&long, &binary]) {
            assert_ne!(request_id(Some(bad)), *bad);
        }
    }
}
