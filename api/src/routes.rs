//! The route table: method, path and handler of every route. The right that a handler needs is the extractor
//! it takes.

mod api_keys;
mod audit;
mod comments;
mod connectors;
mod docs;
mod events;
mod filters;
mod governance;
mod grid;
mod group_mappings;
mod health;
mod inbox;
mod incidents;
mod me;
mod members;
mod notification_channels;
mod notification_deliveries;
mod notification_rules;
mod oidc;
mod parameters;
mod people;
mod pipelines;
mod runs;
mod sessions;
mod syncs;
mod task_runs;
mod team_members;
mod teams;
mod triggers;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::console;
use crate::http::error::ApiError;
use crate::http::{BASE_PATH, etag, middleware};
use crate::state::App;

/// Method, path and handler. The handler's attribute repeats the first two; a test compares them.
type RouteTable = Vec<(&'static str, &'static str, UtoipaMethodRouter<App>)>;

const METRICS_PATH: &str = "/metrics";
/// What a cluster asks of each process.
const CLUSTER_PATHS: [&str; 3] = [METRICS_PATH, "/health", "/readyz"];

/// Declares the routes below `/api/v1.0/spaces/{slug}/orchestration`.
fn orchestration_routes() -> RouteTable {
    vec![
        ("GET", "/pipelines", routes!(pipelines::list)),
        ("GET", "/pipelines/facets", routes!(pipelines::get_facets)),
        ("POST", "/pipelines/bulk", routes!(governance::update_many)),
        ("GET", "/pipelines/{pipeline_id}", routes!(pipelines::get)),
        ("PATCH", "/pipelines/{pipeline_id}/team", routes!(governance::update_team)),
        ("PATCH", "/pipelines/{pipeline_id}/criticality", routes!(governance::update_criticality)),
        ("PUT", "/pipelines/{pipeline_id}/watch", routes!(governance::watch)),
        ("DELETE", "/pipelines/{pipeline_id}/watch", routes!(governance::unwatch)),
        ("POST", "/pipelines/{pipeline_id}/trigger", routes!(triggers::create)),
        ("GET", "/pipelines/{pipeline_id}/parameters", routes!(parameters::get)),
        ("GET", "/pipelines/{pipeline_id}/runs", routes!(runs::list_of_pipeline)),
        ("GET", "/pipelines/{pipeline_id}/grid", routes!(grid::get)),
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
        ("GET", "/incidents", routes!(incidents::list)),
        ("GET", "/incidents/{incident_id}", routes!(incidents::get)),
        ("POST", "/incidents/{incident_id}/acknowledge", routes!(incidents::acknowledge)),
        ("POST", "/incidents/{incident_id}/mute", routes!(incidents::mute)),
        ("GET", "/incidents/{incident_id}/comments", routes!(comments::list_of_incident)),
        ("POST", "/incidents/{incident_id}/comments", routes!(comments::create_on_incident)),
        ("GET", "/events", routes!(events::stream)),
        ("POST", "/connectors/{connector_id}/sync", routes!(syncs::create)),
        ("GET", "/connectors/{connector_id}/syncs", routes!(syncs::list)),
        ("GET", "/connectors/{connector_id}/syncs/{sync_id}", routes!(syncs::get)),
        ("DELETE", "/connectors/{connector_id}/syncs/{sync_id}", routes!(syncs::cancel)),
    ]
}

/// Declares the routes of notifications, below the same path.
fn notification_routes() -> RouteTable {
    vec![
        ("GET", "/notifications/channels", routes!(notification_channels::list)),
        ("POST", "/notifications/channels", routes!(notification_channels::create)),
        ("GET", "/notifications/channels/{channel_id}", routes!(notification_channels::get)),
        ("PATCH", "/notifications/channels/{channel_id}", routes!(notification_channels::update)),
        ("DELETE", "/notifications/channels/{channel_id}", routes!(notification_channels::delete)),
        ("POST", "/notifications/channels/{channel_id}/test", routes!(notification_deliveries::test)),
        ("GET", "/notifications/channels/{channel_id}/deliveries", routes!(notification_deliveries::list)),
        (
            "POST",
            "/notifications/channels/{channel_id}/deliveries/{delivery_id}/redeliver",
            routes!(notification_deliveries::redeliver),
        ),
        ("GET", "/notifications/rules", routes!(notification_rules::list)),
        ("POST", "/notifications/rules", routes!(notification_rules::create)),
        ("GET", "/notifications/rules/{rule_id}", routes!(notification_rules::get)),
        ("PATCH", "/notifications/rules/{rule_id}", routes!(notification_rules::update)),
        ("DELETE", "/notifications/rules/{rule_id}", routes!(notification_rules::delete)),
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
        ("POST", "/{connector_id}/sync", routes!(syncs::create_in_catalog)),
    ]
}

/// Declares the routes below `/api/v1.0`.
fn base_routes() -> RouteTable {
    vec![
        ("POST", "/session", routes!(sessions::create)),
        ("GET", "/session", routes!(sessions::get)),
        ("DELETE", "/session", routes!(sessions::delete)),
        ("GET", "/session/providers", routes!(sessions::list_providers)),
        ("GET", "/session/oidc", routes!(oidc::begin)),
        ("GET", "/session/oidc/callback", routes!(oidc::finish)),
        ("GET", "/session/oidc/sign-out", routes!(oidc::sign_out)),
        ("GET", "/sessions", routes!(sessions::list)),
        ("DELETE", "/sessions/{session_id}", routes!(sessions::end)),
        ("GET", "/me", routes!(me::get)),
        ("GET", "/me/notifications", routes!(inbox::list)),
        ("PUT", "/me/notifications/read", routes!(inbox::mark_read)),
        ("GET", "/catalog/spaces/{slug}/sync-history", routes!(syncs::list_of_space)),
        ("GET", "/api-keys", routes!(api_keys::list)),
        ("POST", "/api-keys", routes!(api_keys::create)),
        ("DELETE", "/api-keys/{key_id}", routes!(api_keys::revoke)),
        ("GET", "/spaces/{slug}/people", routes!(people::list)),
        ("GET", "/spaces/{slug}/group-mappings", routes!(group_mappings::list)),
        ("POST", "/spaces/{slug}/group-mappings", routes!(group_mappings::create)),
        ("PATCH", "/spaces/{slug}/group-mappings/{group_mapping_id}", routes!(group_mappings::update)),
        ("DELETE", "/spaces/{slug}/group-mappings/{group_mapping_id}", routes!(group_mappings::delete)),
        ("GET", "/spaces/{slug}/members", routes!(members::list)),
        ("PUT", "/spaces/{slug}/members/{user_id}", routes!(members::set)),
        ("DELETE", "/spaces/{slug}/members/{user_id}", routes!(members::remove)),
        ("GET", "/spaces/{slug}/teams", routes!(teams::list)),
        ("POST", "/spaces/{slug}/teams", routes!(teams::create)),
        ("GET", "/spaces/{slug}/teams/{team_id}", routes!(teams::get)),
        ("PATCH", "/spaces/{slug}/teams/{team_id}", routes!(teams::update)),
        ("DELETE", "/spaces/{slug}/teams/{team_id}", routes!(teams::delete)),
        ("GET", "/spaces/{slug}/teams/{team_id}/members", routes!(team_members::list)),
        ("PUT", "/spaces/{slug}/teams/{team_id}/members/{user_id}", routes!(team_members::set)),
        ("DELETE", "/spaces/{slug}/teams/{team_id}/members/{user_id}", routes!(team_members::remove)),
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
    let orchestration = orchestration_routes().into_iter().chain(notification_routes());
    let base = add_routes(base_routes())
        .nest("/spaces/{slug}/orchestration", add_routes(orchestration.collect()))
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
        .fallback(no_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone())
        .layer(from_fn_with_state(app.request_timeout, middleware::limit_duration))
        .layer(from_fn_with_state(app.cors_origins.clone(), middleware::refuse_forms))
        .layer(CatchPanicLayer::custom(middleware::handle_panic))
        .layer(from_fn(etag::conditional))
        // The fastest level: a sixth more bytes for a third of the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    let routes =
        if app.cors_origins.is_empty() { routes } else { routes.layer(middleware::cors(&app.cors_origins)) };
    routes.layer(from_fn(middleware::observe))
}

/// Returns the routes for the cluster, for a listener that callers do not reach.
pub(crate) fn metrics_router(app: App) -> Router {
    let table = service_routes().into_iter().filter(|(_, path, _)| CLUSTER_PATHS.contains(path));
    let (routes, _) = add_routes(table.collect()).split_for_parts();
    routes.fallback(refuse_path).with_state(app)
}

/// Returns the routes without the metrics, which another listener serves.
pub(crate) fn without_metrics(routes: Router) -> Router {
    Router::new().route(METRICS_PATH, any(refuse_path)).fallback_service(routes)
}

async fn refuse_path() -> ApiError {
    ApiError::NotFound("Route")
}

async fn no_route(method: Method, uri: Uri) -> Response {
    tracing::debug!(path = uri.path(), "no route of the API");
    console::serve(&method, &uri)
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
        let tables = [
            orchestration_routes(),
            notification_routes(),
            connector_routes(),
            base_routes(),
            service_routes(),
        ];
        for (method, path, (_, declared, _)) in tables.into_iter().flatten() {
            let declared = serde_json::to_value(declared).unwrap();
            let paths: Vec<_> = declared.as_object().unwrap().keys().collect();
            assert_eq!(paths, [path]);
            let methods: Vec<_> = declared[path].as_object().unwrap().keys().collect();
            assert_eq!(methods, [&method.to_lowercase()], "{path}");
        }
    }
}
