//! The OpenAPI document, and a page to read and try it, served from the executable.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::{RawPathParams, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::http::error::{ApiError, ApiResult};
use crate::state::App;

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "get_openapi_json", tag = "Service",
    responses((status = 200, description = "OpenAPI 3.1", body = Value)),
)]
pub(super) async fn get_document(State(app): State<App>) -> Json<&'static Value> {
    Json(app.document)
}

/// This document as a page.
#[utoipa::path(
    get, path = "/docs", operation_id = "get_docs", tag = "Service",
    responses((status = 200, description = "HTML", content_type = "text/html", body = String)),
)]
pub(super) async fn get_page() -> ApiResult<Response> {
    let page = find_file("index.html").ok_or(ApiError::NotFound("Page"))?;
    // The page names its files relative to `/docs/`, but is served at `/docs`.
    let html = String::from_utf8_lossy(&page.bytes).replace("\"./", "\"/docs/");
    Ok(([(header::CONTENT_TYPE, page.content_type)], html).into_response())
}

/// A part of the page.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "get_docs_by_file", tag = "Service",
    responses((status = 200, description = "A script, a style or a picture", content_type = "*/*")),
)]
pub(super) async fn get_file(params: RawPathParams) -> ApiResult<Response> {
    let name = params.iter().next().map(|(_, name)| name).unwrap_or_default();
    let file = find_file(name).ok_or(ApiError::NotFound("File"))?;
    Ok(([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response())
}

fn find_file(name: &str) -> Option<SwaggerFile<'static>> {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Arc::new(Config::from("/openapi.json")));
    utoipa_swagger_ui::serve(name, config.clone()).ok().flatten()
}
