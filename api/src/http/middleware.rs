//! Middleware of every route: request id, log span and trace, duration metric, rate-limit headers, time-out,
//! CORS, and the response to a panic.

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

use crate::http::error::{ApiError, FailedAtProvider};
use crate::http::pagination;
use crate::http::rate_limit::{self, RateLimitSlot};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Describes the metrics of this module.
pub(crate) fn describe() {
    metrics::describe_histogram!(
        "orchestration_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "How long requests took until their answer began, by method, route and status, and origin of failures"
    );
}

/// Adds the request id, opens the log span in the client's trace, and records the duration of a request.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers().get(REQUEST_ID));
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let slot = RateLimitSlot::default();
    request.extensions_mut().insert(slot.clone());
    // At the level `error` the span is never filtered out, so that every log line carries the ids.
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
    if let Some(status) = slot.get() {
        status.write(response.headers_mut());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.to_string()),
        ("origin", origin_label(&response).to_owned()),
    ];
    metrics::histogram!("orchestration_http_request_duration_seconds", &labels).record(seconds);
    span.in_scope(|| log_response(method, status, seconds));
    response
}

/// Logs failures as warnings, changes as information, and reads for debugging only.
fn log_response(method: &str, status: u16, seconds: f64) {
    match method {
        _ if status >= 500 => tracing::warn!(status, seconds, "response sent"),
        "POST" | "PUT" | "PATCH" | "DELETE" => tracing::info!(status, seconds, "response sent"),
        _ => tracing::debug!(status, seconds, "response sent"),
    }
}

/// Returns the metric label of where a response has its status from: this service, or the provider.
fn origin_label(response: &Response) -> &'static str {
    match response.extensions().get::<FailedAtProvider>() {
        Some(FailedAtProvider) => "provider",
        None => "service",
    }
}

/// Returns the client's trace context; none when the header is missing, malformed or repeated.
fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut given = headers.get_all(contract::trace::TRACEPARENT).iter();
    let first = given.next()?.to_str().ok()?.parse().ok()?;
    given.next().is_none().then_some(first)
}

/// Returns the client's request id if it has 1 to 128 plain characters, else a new one.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let is_valid = |id: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
    };
    let generated = || HeaderValue::try_from(Uuid::now_v7().to_string());
    match given.filter(is_valid) {
        Some(id) => id.clone(),
        None => generated().unwrap_or(HeaderValue::from_static("none")),
    }
}

/// Returns the metric label of a method. Unknown methods share one label, so that clients cannot add labels.
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

/// The time at which the request time-out started.
#[derive(Clone, Copy)]
pub(crate) struct RequestStart(pub tokio::time::Instant);

/// Cancels a request after this time-out.
pub(crate) async fn limit_duration(
    State(limit): State<Duration>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(RequestStart(tokio::time::Instant::now()));
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(seconds = limit.as_secs(), "request timed out");
            ApiError::Unavailable("The service does not answer").into_response()
        }
    }
}

/// Refuses what a page of another origin can send without asking first: a POST that is not declared as JSON.
/// A proxy that adds the key would send it on.
pub(crate) async fn refuse_forms(
    State(origins): State<Vec<HeaderValue>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let is_form = *request.method() == Method::POST && !is_json(headers);
    // A session, which needs no header, is checked by the authentication.
    if is_form && headers.contains_key(header::AUTHORIZATION) && is_of_another_origin(headers, &origins) {
        return ApiError::NotJson.into_response();
    }
    next.run(request).await
}

/// Whether a browser sent this for a page of another origin, which is not one of the permitted ones.
fn is_of_another_origin(headers: &HeaderMap, permitted: &[HeaderValue]) -> bool {
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| permitted.contains(origin)) {
        return false;
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => origin.is_some_and(|origin| !is_of_host(origin, headers.get(header::HOST))),
    }
}

/// Whether an origin, which is a scheme and a host, has this host.
fn is_of_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.zip(host).is_some_and(|((_, of_origin), host)| of_origin.as_bytes() == host.as_bytes())
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// Returns the response to a request whose handler panicked.
pub(crate) fn handle_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(panic = text, "handler panicked");
    ApiError::Internal.into_response()
}

/// Allows pages of these origins to use the API from a browser.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
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
            pagination::TOTAL_RELATION,
            pagination::NEXT_CURSOR,
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
    fn valid_request_id_is_kept_and_invalid_ones_are_replaced() {
        let kept = HeaderValue::from_static("trace-1.2:3");
        assert_eq!(request_id(Some(&kept)), kept);
        let long = HeaderValue::try_from("x".repeat(129)).unwrap();
        let binary = HeaderValue::from_bytes(b"\xff").unwrap();
        for bad in ["", "a b", "\"", "{}"].map(HeaderValue::from_static).iter().chain([&long, &binary]) {
            assert_ne!(request_id(Some(bad)), *bad);
        }
    }
}
