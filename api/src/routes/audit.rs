//! Who did what in a space, for its admins.

use axum::extract::State;
use platform::audit::Action;
use strum::VariantArray;

use crate::auth::SpaceAdmin;
use crate::http::error::ApiResult;
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::Query;
use crate::state::App;
use crate::store::audit::{self, AuditEntry, AuditFilter};

/// List who did what in the space, newest first.
#[utoipa::path(get, path = "/spaces/{slug}/audit", params(AuditFilter), responses((status = 200, description = "Acts, newest first", body = [AuditEntry])))]
pub async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<AuditEntry>> {
    let filter = AuditFilter {
        actor_id: query.id("actor_id"),
        action: query.words("action", Action::VARIANTS),
        from: query.time("from"),
        to: query.time("to"),
        target_id: query.id("target_id"),
    };
    let paging = Paging::read(&mut query);
    query.finish()?;
    let rows = audit::list(&app.db, space.space, &filter, paging).await?;
    Ok(Page::new(rows, paging, target))
}
