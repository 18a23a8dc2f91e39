//! Incidents: what is wrong with the pipelines and connectors of a space, acknowledged and muted by its
//! editors.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use contract::ids::IncidentId;
use contract::state::{IncidentKind, IncidentStatus};
use strum::VariantArray;
use utoipa::ToSchema;

use super::filters;
use crate::auth::{Forbidden, SpaceEditor, SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, ValueError, body};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::incidents::{self, Incident, IncidentChange, IncidentFilter, IncidentPipelineParams};

/// Until when an incident is muted.
#[derive(ToSchema)]
#[schema(as = IncidentMute)]
pub(super) struct MuteRequest {
    /// A time to come; null to mute it no longer
    #[schema(required = true)]
    until: Option<DateTime<Utc>>,
}

/// List the incidents of the space, the one opened last first.
#[utoipa::path(
    get, path = "/incidents", operation_id = "get_incidents", tag = "Incidents",
    params(IncidentFilter, IncidentPipelineParams),
    responses((status = 200, description = "Incidents", body = [Incident])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<Incident>>> {
    let filter = IncidentFilter {
        status: query.words("status", IncidentStatus::VARIANTS),
        kind: query.words("kind", IncidentKind::VARIANTS),
        opened_from: query.time("opened_from"),
        pipelines: filters::incident_pipelines(&mut query),
    };
    let page = read_paging(&mut query, uri, incidents::ORDER);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let rows = incidents::list(&app.db, space.space, &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// One incident.
#[utoipa::path(
    get, path = "/incidents/{incident_id}", operation_id = "get_incidents_by_incident_id", tag = "Incidents",
    responses((status = 200, description = "The incident", body = Incident)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(incident): Id<IncidentId>,
) -> ApiResult<Json<Incident>> {
    let found = incidents::find(&app.db, space.space, incident).await?;
    found.map(Json).ok_or(ApiError::NotFound("Incident"))
}

/// Acknowledge an incident: a member takes care of it.
#[utoipa::path(
    post, path = "/incidents/{incident_id}/acknowledge",
    operation_id = "post_incidents_by_incident_id_acknowledge", tag = "Incidents",
    responses(
        (status = 200, description = "The incident", body = Incident),
        (status = 403, response = Forbidden),
        (status = 409, description = "The incident is resolved"),
    ),
)]
pub(super) async fn acknowledge(
    space: SpaceEditor,
    State(app): State<App>,
    Id(incident): Id<IncidentId>,
) -> ApiResult<Json<Incident>> {
    let change = incidents::acknowledge(&app.db, space.space, space.user.id, incident).await?;
    changed(&app, &space, incident, change).await
}

/// Mute an incident: nothing is sent about it until a time.
#[utoipa::path(
    post, path = "/incidents/{incident_id}/mute", operation_id = "post_incidents_by_incident_id_mute",
    tag = "Incidents", request_body = MuteRequest,
    responses(
        (status = 200, description = "The incident", body = Incident),
        (status = 403, response = Forbidden),
        (status = 409, description = "The incident is resolved"),
    ),
)]
pub(super) async fn mute(
    space: SpaceEditor,
    State(app): State<App>,
    Id(incident): Id<IncidentId>,
    body: Body,
) -> ApiResult<Json<Incident>> {
    let mut fields = body.fields()?;
    let request = MuteRequest { until: fields.nullable("until", body::time).flatten() };
    if request.until.is_some_and(|until| until <= Utc::now()) {
        let error = ValueError::new("value_error.date.not_in_the_future", "ensure this time is to come");
        fields.add_error("until", error);
    }
    fields.finish()?;
    let change = incidents::mute(&app.db, space.space, space.user.id, incident, request.until).await?;
    changed(&app, &space, incident, change).await
}

async fn changed(
    app: &App,
    space: &SpaceMember,
    incident: IncidentId,
    change: IncidentChange,
) -> ApiResult<Json<Incident>> {
    match change {
        IncidentChange::NotFound => return Err(ApiError::NotFound("Incident")),
        IncidentChange::Resolved => return Err(ApiError::Conflict("The incident is resolved")),
        IncidentChange::Done => {}
    }
    let found = incidents::find(&app.db, space.space, incident).await?;
    found.map(Json).ok_or(ApiError::NotFound("Incident"))
}
