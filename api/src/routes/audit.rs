//! The audit log of a space, for its admins.

use axum::extract::State;
use platform::audit::Action;
use strum::VariantArray;

use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::error::ApiResult;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::Query;
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::audit::{self, AuditEntry, AuditFilter};

/// List who did what in the space, newest first.
#[utoipa::path(
    get, path = "/spaces/{slug}/audit", operation_id = "get_audit", tag = "Audit", params(AuditFilter),
    responses(
        (status = 200, description = "Acts, newest first", body = [AuditEntry]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<AuditEntry>>> {
    let filter = AuditFilter {
        actor_id: query.id("actor_id"),
        action: query.words("action", Action::VARIANTS),
        from: query.time("from"),
        to: query.time("to"),
        target_id: query.id("target_id"),
    };
    let page = read_paging(&mut query, uri, audit::ORDER);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let rows = audit::list(&app.db, space.space, &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}
