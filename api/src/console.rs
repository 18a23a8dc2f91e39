//! The web console: the files that `npm run build` made of `api/console`, served from the executable. Every
//! path without a route of its own shows the console, which has routes itself.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde_json::json;

use crate::http::error::ApiError;

/// The files of the console. Without a build of it there are none; development builds read them from disk.
#[derive(RustEmbed)]
#[folder = "console/dist"]
struct ConsoleFiles;

const INDEX: &str = "index.html";
/// The names of these files contain a hash of their content.
const ASSETS: &str = "assets/";
/// Paths that belong to the API and never show the console.
const RESERVED: [&str; 6] = ["api", "docs", "health", "metrics", "openapi.json", "readyz"];

const SECURITY: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Returns the file at this path, or the console's page if the path is none of the API's.
pub(crate) fn serve(method: &Method, uri: &Uri) -> Response {
    respond(method, uri, ConsoleFiles::get)
}

fn respond(method: &Method, uri: &Uri, find: impl Fn(&str) -> Option<EmbeddedFile>) -> Response {
    let path = uri.path().trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if !matches!(*method, Method::GET | Method::HEAD) || RESERVED.contains(&first) {
        return ApiError::NotFound("Route").into_response();
    }
    if let Some(file) = find(path).filter(|_| !path.is_empty() && path != INDEX) {
        let cache = if path.starts_with(ASSETS) { "public, max-age=31536000, immutable" } else { "no-cache" };
        return file_response(file, cache);
    }
    if first == ASSETS.trim_end_matches('/') {
        return ApiError::NotFound("File").into_response();
    }
    match find(INDEX) {
        Some(page) => file_response(page, "no-cache"),
        None if path.is_empty() => not_built(),
        None => ApiError::NotFound("Route").into_response(),
    }
}

fn file_response(file: EmbeddedFile, cache: &'static str) -> Response {
    let mut headers =
        HeaderMap::from_iter(SECURITY.map(|(name, value)| (name, HeaderValue::from_static(value))));
    let media_type = HeaderValue::try_from(file.metadata.mimetype());
    let fallback = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(fallback));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    (headers, file.data.into_owned()).into_response()
}

fn not_built() -> Response {
    let how =
        "This build has no console: run `npm ci && npm run build` in api/console, and build the API again";
    (StatusCode::NOT_FOUND, Json(json!({"detail": how}))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;

    use super::*;

    async fn without_console(path: &'static str) -> (StatusCode, String) {
        let response = respond(&Method::GET, &Uri::from_static(path), |_| None);
        let status = response.status();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["detail"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn without_a_console_the_start_page_says_how_to_build_it() {
        let (status, detail) = without_console("/").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(detail.contains("`npm ci && npm run build` in api/console"), "{detail}");
        for path in ["/s/demo", "/assets/main.js", "/api/none"] {
            let (status, detail) = without_console(path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(!detail.contains("npm"), "{path}: {detail}");
        }
    }
}
