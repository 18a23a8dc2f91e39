//! The teams that can own a pipeline.

use axum::extract::State;

use crate::auth::SpaceViewer;
use crate::http::error::ApiResult;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::Query;
use crate::state::App;
use crate::store::teams::{self, Team};

/// List the teams of the space, by name.
#[utoipa::path(
    get, path = "/spaces/{slug}/teams", operation_id = "get_teams", tag = "Spaces",
    responses((status = 200, description = "Teams, by name", body = [Team])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<Team>> {
    let paging = read_paging(&mut query);
    query.finish()?;
    let rows = teams::list(&app.db, space.space, paging).await?;
    Ok(PageResponse::new(rows, paging, uri))
}
