//! Syncs: requested here, run by the worker.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::{ConnectorId, SyncId};
use contract::state::SyncTrigger;

use crate::auth::{Forbidden, SpaceEditor, SpaceViewer};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::connectors;
use crate::store::syncs::{self, SyncEligibility, SyncOptions, SyncView};

/// Ask for a sync of a connector.
#[utoipa::path(
    post, path = "/connectors/{connector_id}/sync", operation_id = "post_connectors_by_connector_id_sync",
    description = "One that already waits serves this wish too. A source whose credentials were refused is \
        tried once.",
    tag = "Syncs", request_body = Option<SyncOptions>,
    responses(
        (status = 202, description = "The sync that will serve this wish", body = SyncView,
            headers(("Location" = String))),
        (status = 403, response = Forbidden),
        (status = 409, description = "The connector is switched off"),
    ),
)]
pub(super) async fn create(
    space: SpaceEditor,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let mut fields = body.optional_fields()?;
    let full = fields.optional("full", body::boolean).unwrap_or(false);
    let accept_mass_deletion = fields.optional("accept_mass_deletion", body::boolean).unwrap_or(false);
    fields.finish()?;
    match syncs::find_sync_eligibility(&app.db, space.space, connector).await? {
        SyncEligibility::NotFound => return Err(ApiError::NotFound("Connector")),
        SyncEligibility::UnsupportedType => {
            return Err(ApiError::BadRequest("Only Airflow connectors are supported"));
        }
        SyncEligibility::Inactive => {
            return Err(ApiError::Conflict("The connector is switched off; set is_active first"));
        }
        SyncEligibility::Ready => {}
    }
    let options = SyncOptions { trigger: SyncTrigger::Manual, full, accept_mass_deletion };
    let mut tx = app.db.begin().await?;
    let id = syncs::request(&mut tx, (space.space, &space.slug), connector, space.user.id, options).await?;
    tx.commit().await?;
    let sync = syncs::find(&app.db, space.space, connector, id).await?.ok_or(ApiError::NotFound("Sync"))?;
    let location =
        format!("{BASE_PATH}/spaces/{}/orchestration/connectors/{connector}/syncs/{id}", space.slug);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sync)))
}

/// List the syncs of a connector, newest first.
#[utoipa::path(
    get, path = "/connectors/{connector_id}/syncs", operation_id = "get_connectors_by_connector_id_syncs",
    tag = "Syncs", responses((status = 200, description = "Syncs", body = [SyncView])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<SyncView>> {
    let paging = read_paging(&mut query);
    query.finish()?;
    if !connectors::exists(&app.db, space.space, connector).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    let rows = syncs::list(&app.db, space.space, connector, paging).await?;
    Ok(PageResponse::new(rows, paging, uri))
}

/// One sync of a connector.
#[utoipa::path(
    get, path = "/connectors/{connector_id}/syncs/{sync_id}",
    operation_id = "get_connectors_by_connector_id_syncs_by_sync_id", tag = "Syncs",
    responses((status = 200, description = "The sync", body = SyncView)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    Id(sync): Id<SyncId>,
) -> ApiResult<Json<SyncView>> {
    let found = syncs::find(&app.db, space.space, connector, sync).await?;
    found.map(Json).ok_or(ApiError::NotFound("Sync"))
}
