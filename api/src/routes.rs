//! The route table, on one screen. Paths stand with their handlers; what a handler may be asked by whom is the
//! extractor it takes.

mod audit;
mod comments;
mod connectors;
mod docs;
mod events;
mod filters;
mod governance;
mod me;
mod pipelines;
mod runs;
mod service;
mod syncs;
mod task_runs;
mod teams;
mod triggers;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::connectors::MOST_HEADERS;
pub use self::filters::{ACTIVITIES, PIPELINE_STATES};
use crate::http::error::ApiError;
use crate::http::{etag, middleware};
use crate::state::App;

/// Where everything but the service's own endpoints stands.
pub const BASE: &str = "/api/v1.0";

fn orchestration() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pipelines::list))
        .routes(routes!(pipelines::show))
        .routes(routes!(governance::set_team))
        .routes(routes!(governance::set_criticality))
        .routes(routes!(triggers::trigger))
        .routes(routes!(governance::watch, governance::unwatch))
        .routes(routes!(runs::list_of_pipeline))
        .routes(routes!(runs::list_of_space))
        .routes(routes!(runs::show))
        .routes(routes!(task_runs::show))
        .routes(routes!(comments::list_of_run, comments::create_on_run))
        .routes(routes!(comments::list_of_task_run, comments::create_on_task_run))
        .routes(routes!(comments::update, comments::delete))
        .routes(routes!(events::follow))
        .routes(routes!(syncs::request))
        .routes(routes!(syncs::list))
        .routes(routes!(syncs::show))
}

fn catalog() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(connectors::list, connectors::create))
        .routes(routes!(connectors::show, connectors::update, connectors::delete))
        .routes(routes!(connectors::test))
}

fn table() -> OpenApiRouter<App> {
    let base = OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(teams::list))
        .routes(routes!(audit::list))
        .nest("/spaces/{slug}/orchestration", orchestration())
        .nest("/catalog/spaces/{slug}/connectors", catalog());
    OpenApiRouter::new()
        .routes(routes!(service::health))
        .routes(routes!(service::ready))
        .routes(routes!(service::metrics))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .routes(routes!(docs::part))
        .nest(BASE, base)
}

/// What the routes say of themselves.
pub fn described() -> OpenApi {
    table().into_openapi()
}

/// All routes and what every request meets around them, the outermost last.
pub fn router(app: App) -> Router {
    let (routes, _) = table().split_for_parts();
    let routes = routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone())
        .layer(from_fn_with_state(app.time_out, middleware::time_out))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn(etag::conditional))
        // A sixth more bytes for a third of the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    let routes = match app.origins.is_empty() {
        true => routes,
        false => routes.layer(middleware::cors(&app.origins)),
    };
    routes.layer(from_fn(middleware::observe))
}

async fn unknown_route(uri: Uri) -> ApiError {
    tracing::debug!(path = uri.path(), "unknown route");
    ApiError::NotFound("Route")
}

async fn wrong_method(method: Method) -> ApiError {
    tracing::debug!(%method, "wrong method");
    ApiError::WrongMethod
}
