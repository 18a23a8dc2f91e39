//! One's own inbox: what happened to the pipelines one watches and to the runs one triggered.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use contract::ids::NotificationId;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::http::error::ApiResult;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Query, body, list as list_of};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::inbox::{self, InboxFilter, MAX_MARKED, Notification};

/// Which entries are marked as read.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct MarkRead {
    /// These; null for all
    #[schema(required = false, value_type = Option<Vec<Uuid>>, min_items = 1, max_items = 500)]
    ids: Option<Vec<NotificationId>>,
    /// Without `ids`: all that were created until then; null for now
    #[schema(required = false)]
    until: Option<DateTime<Utc>>,
}

/// List one's notifications of all spaces, newest first. `X-Total-Count` with `unread=true` is their number.
#[utoipa::path(
    get, path = "/me/notifications", operation_id = "get_me_notifications", tag = "Notifications",
    params(InboxFilter),
    responses((status = 200, description = "Notifications, newest first", body = [Notification])),
)]
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<Notification>>> {
    let filter = InboxFilter { unread: query.boolean("unread").unwrap_or(false) };
    let page = read_paging(&mut query, uri, inbox::ORDER);
    query.finish()?;
    let permit = app.reads.acquire(caller.key).await?;
    let rows = inbox::list(&app.db, caller.user.id, &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// Mark notifications as read: some, or all. Ids that are not one's own are ignored.
#[utoipa::path(
    put, path = "/me/notifications/read", operation_id = "put_me_notifications_read", tag = "Notifications",
    request_body = Option<MarkRead>,
    responses((status = 204, description = "Marked")),
)]
pub(super) async fn mark_read(caller: Caller, State(app): State<App>, body: Body) -> ApiResult<StatusCode> {
    let mut fields = body.optional_fields()?;
    let ids: Option<Vec<NotificationId>> = fields.optional("ids", list_of::ids(1..=MAX_MARKED));
    let until = fields.optional("until", body::time).unwrap_or_else(Utc::now);
    fields.finish()?;
    inbox::mark_read(&app.db, caller.user.id, ids.as_deref(), until).await?;
    Ok(StatusCode::NO_CONTENT)
}
