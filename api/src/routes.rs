//! The route table: method, path and handler of every route. The right that a handler needs is the extractor
//! it takes.

mod audit;
mod comments;
mod connectors;
mod docs;
mod events;
mod filters;
mod governance;
mod health;
mod me;
mod pipelines;
mod runs;
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
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::http::error::ApiError;
use crate::http::{BASE_PATH, etag, middleware};
use crate::state::App;

/// Method, path and handler. The handler's attribute repeats the first two; a test compares them.
type RouteTable = Vec<(&'static str, &'static str, UtoipaMethodRouter<App>)>;

/// Declares the routes below `/api/v1.0/spaces/{slug}/orchestration`.
fn orchestration_routes() -> RouteTable {
    vec![
        ("GET", "/pipelines", routes!(pipelines::list)),
        ("GET", "/pipelines/{pipeline_id}", routes!(pipelines::get)),
        ("PATCH", "/pipelines/{pipeline_id}/team", routes!(governance::update_team)),
        ("PATCH", "/pipelines/{pipeline_id}/criticality", routes!(governance::update_criticality)),
        ("PUT", "/pipelines/{pipeline_id}/watch", routes!(governance::watch)),
        ("DELETE", "/pipelines/{pipeline_id}/watch", routes!(governance::unwatch)),
        ("POST", "/pipelines/{pipeline_id}/trigger", routes!(triggers::create)),
        ("GET", "/pipelines/{pipeline_id}/runs", routes!(runs::list_of_pipeline)),
        ("GET", "/runs", routes!(runs::list_of_space)),
        ("GET", "/runs/{run_id}", routes!(runs::get)),
        ("GET", "/runs/{run_id}/comments", routes!(comments::list_of_run)),
        ("POST", "/runs/{run_id}/comments", routes!(comments::create_on_run)),
        ("GET", "/task-runs/{task_run_id}", routes!(task_runs::get)),
        ("GET", "/task-runs/{task_run_id}/comments", routes!(comments::list_of_task_run)),
        ("POST", "/task-runs/{task_run_id}/comments", routes!(comments::create_on_task_run)),
        ("PUT", "/comments/{comment_id}", routes!(comments::replace)),
        ("PATCH", "/comments/{comment_id}", routes!(comments::update)),
        ("DELETE", "/comments/{comment_id}", routes!(comments::delete)),
        ("GET", "/events", routes!(events::stream)),
        ("POST", "/connectors/{connector_id}/sync", routes!(syncs::create)),
        ("GET", "/connectors/{connector_id}/syncs", routes!(syncs::list)),
        ("GET", "/connectors/{connector_id}/syncs/{sync_id}", routes!(syncs::get)),
    ]
}

/// Declares the routes below `/api/v1.0/catalog/spaces/{slug}/connectors`.
fn connector_routes() -> RouteTable {
    vec![
        ("GET", "", routes!(connectors::list)),
        ("POST", "", routes!(connectors::create)),
        ("GET", "/{connector_id}", routes!(connectors::get)),
        ("PATCH", "/{connector_id}", routes!(connectors::update)),
        ("DELETE", "/{connector_id}", routes!(connectors::delete)),
        ("POST", "/{connector_id}/test", routes!(connectors::test)),
    ]
}

/// Declares the routes below `/api/v1.0`.
fn base_routes() -> RouteTable {
    vec![
        ("GET", "/me", routes!(me::get)),
        ("GET", "/spaces/{slug}/teams", routes!(teams::list)),
        ("GET", "/spaces/{slug}/audit", routes!(audit::list)),
    ]
}

/// Declares the service's own endpoints; they need no key.
fn service_routes() -> RouteTable {
    vec![
        ("GET", "/health", routes!(health::get_health)),
        ("GET", "/readyz", routes!(health::get_readiness)),
        ("GET", "/metrics", routes!(health::get_metrics)),
        ("GET", "/openapi.json", routes!(docs::get_document)),
        ("GET", "/docs", routes!(docs::get_page)),
        ("GET", "/docs/{file}", routes!(docs::get_file)),
    ]
}

fn add_routes(table: RouteTable) -> OpenApiRouter<App> {
    table.into_iter().fold(OpenApiRouter::new(), |router, (_, _, route)| router.routes(route))
}

fn all_routes() -> OpenApiRouter<App> {
    let base = add_routes(base_routes())
        .nest("/spaces/{slug}/orchestration", add_routes(orchestration_routes()))
        .nest("/catalog/spaces/{slug}/connectors", add_routes(connector_routes()));
    add_routes(service_routes()).nest(BASE_PATH, base)
}

/// Returns the operations and schemas that the handlers' attributes declare.
pub(crate) fn openapi() -> OpenApi {
    all_routes().into_openapi()
}

/// Returns all routes with the middleware around them, the outermost last.
pub fn router(app: App) -> Router {
    let (routes, _) = all_routes().split_for_parts();
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone())
        .layer(from_fn_with_state(app.request_timeout, middleware::limit_duration))
        .layer(CatchPanicLayer::custom(middleware::handle_panic))
        .layer(from_fn(etag::conditional))
        // The fastest level: a sixth more bytes for a third of the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    let routes =
        if app.cors_origins.is_empty() { routes } else { routes.layer(middleware::cors(&app.cors_origins)) };
    routes.layer(from_fn(middleware::observe))
}

async fn not_found(uri: Uri) -> ApiError {
    tracing::debug!(path = uri.path(), "route not found");
    ApiError::NotFound("Route")
}

async fn method_not_allowed(method: Method) -> ApiError {
    tracing::debug!(%method, "method not allowed");
    ApiError::MethodNotAllowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_table_agrees_with_the_attributes_of_the_handlers() {
        let tables = [orchestration_routes(), connector_routes(), base_routes(), service_routes()];
        for (method, path, (_, declared, _)) in tables.into_iter().flatten() {
            let declared = serde_json::to_value(declared).unwrap();
            let paths: Vec<_> = declared.as_object().unwrap().keys().collect();
            assert_eq!(paths, [path]);
            let methods: Vec<_> = declared[path].as_object().unwrap().keys().collect();
            assert_eq!(methods, [&method.to_lowercase()], "{path}");
        }
    }
}
