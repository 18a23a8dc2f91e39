//! The teams that can own a pipeline.

use axum::extract::State;

use crate::auth::SpaceViewer;
use crate::http::error::ApiResult;
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::Query;
use crate::state::App;
use crate::store::teams::{self, Team};

/// List the teams of the space, by name.
#[utoipa::path(get, path = "/spaces/{slug}/teams", responses((status = 200, description = "Teams, by name", body = [Team])))]
pub async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Team>> {
    let paging = Paging::read(&mut query);
    query.finish()?;
    let rows = teams::list(&app.db, space.space, paging).await?;
    Ok(Page::new(rows, paging, target))
}
