//! The document of the API, and a page to read and try it, served from the binary.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::RawPathParams;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::http::error::{ApiError, ApiResult};
use crate::openapi;

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI 3.1", body = Value)))]
pub async fn document() -> Json<&'static Value> {
    Json(openapi::document())
}

/// This document as a page.
#[utoipa::path(get, path = "/docs", responses((status = 200, description = "HTML", content_type = "text/html", body = String)))]
pub async fn page() -> ApiResult<Response> {
    let page = file("index.html").ok_or(ApiError::NotFound("Page"))?;
    // The page names its parts from its own folder, which begins behind this path.
    let html = String::from_utf8_lossy(&page.bytes).replace("\"./", "\"/docs/");
    Ok(([(header::CONTENT_TYPE, page.content_type)], html).into_response())
}

/// A part of the page.
#[utoipa::path(get, path = "/docs/{file}", responses((status = 200, description = "A script, a style or a picture", content_type = "*/*")))]
pub async fn part(params: RawPathParams) -> ApiResult<Response> {
    let name = params.iter().next().map(|(_, name)| name).unwrap_or_default();
    let part = file(name).ok_or(ApiError::NotFound("File"))?;
    Ok(([(header::CONTENT_TYPE, part.content_type)], part.bytes.into_owned()).into_response())
}

fn file(name: &str) -> Option<SwaggerFile<'static>> {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Arc::new(Config::from("/openapi.json")));
    utoipa_swagger_ui::serve(name, config.clone()).ok().flatten()
}
