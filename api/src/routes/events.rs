//! The changes of a space as they happen, as Server-Sent Events.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::IntoResponse;

use super::filters;
use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::Query;
use crate::state::App;
use crate::stream::{self, EventFilter};

/// Follow the changes of the space as they happen (Server-Sent Events).
///
/// `event` is `pipeline`, `run`, `task_run` or `sync`; `data` is the event contract's JSON of it, as subscribers of the
/// topics get it (`shared/contract/schemas/`): complete, and newer the higher its `version`. An event is sent once the reads of
/// this API show it. A change may be told twice: keep the highest `version` of each `id`.
///
/// Every event has an `id`. Send the last one as `Last-Event-ID`, to this replica or another, and nothing between is
/// missed. Where it cannot be made up for, the first event is `reset`: read again what you show, and go on. A line
/// that begins with `:` says that the stream lives. `end` says why the service closes it: `access_lost`, `too_slow` or
/// `stopping`.
#[utoipa::path(get, path = "/events", params(EventFilter, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received; without it, the stream begins now")), responses((status = 200, description = "The stream, until either side ends it", content_type = "text/event-stream", body = String)))]
pub async fn follow(
    space: SpaceViewer,
    State(app): State<App>,
    headers: HeaderMap,
    mut query: Query,
) -> ApiResult<impl IntoResponse> {
    let filter = filters::events(&mut query);
    query.finish()?;
    if app.stopping.is_cancelled() {
        return Err(ApiError::Unavailable("The service is stopping"));
    }
    let seat = app.live.take_seat(space.key).map_err(ApiError::TooManyStreams)?;
    if !app.live.is_reading(app.time_out / 6).await {
        return Err(ApiError::Unavailable("Kafka does not answer"));
    }
    // An id that is no text is one that we never gave.
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    let body = stream::stream(app, space, filter, seat, last);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers before they pass them on are asked not to.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body))
}
