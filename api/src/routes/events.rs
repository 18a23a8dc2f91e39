//! The changes of a space as Server-Sent Events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::IntoResponse;
use futures::future::BoxFuture;

use super::filters;
use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::Query;
use crate::state::App;
use crate::stream::{self, EventFilter, StreamLimit};

/// What clients must know, as CommonMark.
const DESCRIPTION: &str = "\
`event` is `pipeline`, `run`, `task_run`, `sync`, `governance`, `comment` or `incident`; `data` is the event \
contract's JSON of it, as subscribers of the
topics get it (`shared/contract/schemas/`): complete, and newer the higher its `version`. An event is sent \
once the reads of
this API show it. A change may be sent twice: keep the highest `version` of each `id`.

Every event but `end` has an `id`. Send the last one as `Last-Event-ID`, to this replica or another, and \
nothing between is
missed. Where it cannot be made up for, the first event is `reset`: read again what you show, and go on. A \
line
that begins with `:` says that the stream lives. `end` says why the service closes it: `access_lost`, \
`too_slow` or
`stopping`.";

/// Follow the changes of the space as they happen (Server-Sent Events).
#[utoipa::path(
    get, path = "/events", operation_id = "get_events", tag = "Events",
    description = DESCRIPTION,
    params(
        EventFilter,
        ("Last-Event-ID" = Option<String>, Header, description =
            "The id of the last event that was received; without it, the stream begins now"),
    ),
    responses((
        status = 200, description = "The stream, until either side ends it",
        content_type = "text/event-stream", body = String,
    )),
)]
pub(super) async fn stream(
    space: SpaceViewer,
    State(app): State<App>,
    headers: HeaderMap,
    mut query: Query,
) -> ApiResult<impl IntoResponse> {
    let filter = filters::events(&mut query);
    query.finish()?;
    let permit = app.stream.acquire(space.key).map_err(|limit| match limit {
        StreamLimit::Key(open) => ApiError::TooManyStreams { open_of_key: Some(open) },
        StreamLimit::Process => ApiError::TooManyStreams { open_of_key: None },
    })?;
    if !app.stream.wait_until_readable(app.request_timeout / 6).await {
        return Err(ApiError::Unavailable("Kafka does not answer"));
    }
    // An id that is not text cannot be one of ours, and is treated as unknown.
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    let (hub, id) = (app.stream.clone(), space.space);
    let body = stream::stream(hub, id, filter, permit, last, access_check(app, space));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies not to buffer the response.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body))
}

/// Checks whether the viewer may still read the space. While PostgreSQL is unavailable the stream stays open:
/// without the read model's offsets it gets no new events.
fn access_check(app: App, space: SpaceViewer) -> impl Fn() -> BoxFuture<'static, bool> + Send + Sync {
    let space = Arc::new(space);
    move || {
        let (app, space) = (app.clone(), space.clone());
        Box::pin(async move {
            space.is_still_member(&app.authenticator).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "access check of an event stream failed");
                true
            })
        })
    }
}
