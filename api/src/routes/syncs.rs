//! Syncs: requested here, run by the worker.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::{ConnectorId, SyncId};
use contract::state::SyncTrigger;

use super::filters;
use crate::auth::{Forbidden, SpaceEditor, SpaceViewer};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::connectors;
use crate::store::syncs::{self, CancelOutcome, SyncEligibility, SyncFilter, SyncOptions, SyncView};

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
    tag = "Syncs", params(SyncFilter),
    responses((status = 200, description = "Syncs", body = [SyncView])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<SyncView>>> {
    let filter = filters::syncs(&mut query);
    let page = read_paging(&mut query, uri, syncs::ORDER);
    query.finish()?;
    if !connectors::exists(&app.db, space.space, connector).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    let permit = app.reads.acquire(space.key).await?;
    let rows = syncs::list(&app.db, space.space, Some(connector), &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// Ask for a sync of a connector, as `…/orchestration/connectors/{connector_id}/sync` does.
#[utoipa::path(
    post, path = "/{connector_id}/sync", operation_id = "post_catalog_connectors_by_connector_id_sync",
    tag = "Syncs", request_body = Option<SyncOptions>,
    responses(
        (status = 202, description = "The sync that will complete this request", body = SyncView,
            headers(("Location" = String))),
        (status = 403, response = Forbidden),
        (status = 409, description = "The connector is switched off"),
    ),
)]
pub(super) async fn create_in_catalog(
    space: SpaceEditor,
    state: State<App>,
    id: Id<ConnectorId>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    create(space, state, id, body).await
}

/// List the syncs of all connectors of the space, newest first.
#[utoipa::path(
    get, path = "/catalog/spaces/{slug}/sync-history", operation_id = "get_sync_history",
    tag = "Syncs", params(SyncFilter),
    responses((status = 200, description = "Syncs", body = [SyncView])),
)]
pub(super) async fn list_of_space(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<SyncView>>> {
    let filter = filters::syncs(&mut query);
    let page = read_paging(&mut query, uri, syncs::ORDER);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let rows = syncs::list(&app.db, space.space, None, &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
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

/// Cancel a queued or running sync. It fails, and its error names who cancelled it.
#[utoipa::path(
    delete, path = "/connectors/{connector_id}/syncs/{sync_id}",
    operation_id = "delete_connectors_by_connector_id_syncs_by_sync_id", tag = "Syncs",
    responses(
        (status = 204, description = "Cancelled; a running one ends within seconds"),
        (status = 403, response = Forbidden),
        (status = 409, description = "The sync has ended"),
    ),
)]
pub(super) async fn cancel(
    space: SpaceEditor,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    Id(sync): Id<SyncId>,
) -> ApiResult<StatusCode> {
    match syncs::cancel(&app.db, space.space, connector, sync, &space.user).await? {
        CancelOutcome::Cancelled => Ok(StatusCode::NO_CONTENT),
        CancelOutcome::NotFound => Err(ApiError::NotFound("Sync")),
        CancelOutcome::Ended => Err(ApiError::Conflict("The sync has ended")),
    }
}
