//! Syncs: asked for here, run by the worker.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::{ConnectorId, SyncId};
use contract::state::SyncTrigger;

use super::BASE;
use crate::auth::{SpaceEditor, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::connectors;
use crate::store::syncs::{self, Sync, Syncable, Wish};

/// Ask for a sync of a connector.
///
/// One that already waits serves this wish too. A source whose credentials were refused is tried once.
#[utoipa::path(post, path = "/connectors/{connector_id}/sync", request_body = Option<Wish>, responses((status = 202, description = "The sync that will serve this wish", body = Sync), (status = 409, description = "The connector is switched off")))]
pub async fn request(
    space: SpaceEditor,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let mut fields = body.optional_fields()?;
    let full = fields.optional("full", body::boolean).unwrap_or(false);
    let accept_mass_deletion = fields.optional("accept_mass_deletion", body::boolean).unwrap_or(false);
    fields.finish()?;
    match syncs::syncable(&app.db, space.space, connector).await? {
        Syncable::Missing => return Err(ApiError::NotFound("Connector")),
        Syncable::OtherType => return Err(ApiError::BadRequest("Only Airflow connectors are supported")),
        Syncable::SwitchedOff => {
            return Err(ApiError::Conflict("The connector is switched off; set is_active first"));
        }
        Syncable::Yes => {}
    }
    let wish = Wish { trigger: SyncTrigger::Manual, full, accept_mass_deletion };
    let mut tx = app.db.begin().await?;
    let id = syncs::request(&mut tx, (space.space, &space.slug), connector, space.user.id, wish).await?;
    tx.commit().await?;
    let sync = syncs::get(&app.db, space.space, connector, id).await?.ok_or(ApiError::NotFound("Sync"))?;
    let location = format!("{BASE}/spaces/{}/orchestration/connectors/{connector}/syncs/{id}", space.slug);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sync)))
}

/// List the syncs of a connector, newest first.
#[utoipa::path(get, path = "/connectors/{connector_id}/syncs", responses((status = 200, description = "Syncs", body = [Sync])))]
pub async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Sync>> {
    let paging = Paging::read(&mut query);
    query.finish()?;
    if !connectors::exists(&app.db, space.space, connector).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    let rows = syncs::list(&app.db, space.space, connector, paging).await?;
    Ok(Page::new(rows, paging, target))
}

/// One sync of a connector.
#[utoipa::path(get, path = "/connectors/{connector_id}/syncs/{sync_id}", responses((status = 200, description = "The sync", body = Sync)))]
pub async fn show(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    Id(sync): Id<SyncId>,
) -> ApiResult<Json<Sync>> {
    let found = syncs::get(&app.db, space.space, connector, sync).await?;
    found.map(Json).ok_or(ApiError::NotFound("Sync"))
}
