//! Looking up people whom an admin may add to a space.

use axum::extract::State;
use utoipa::IntoParams;

use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::error::ApiResult;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::Query;
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::users::{self, PEOPLE_ORDER, PersonEntry};

/// Whom to look for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct PersonFilter {
    /// A whole e-mail address, or a part of a name or an address
    q: Option<String>,
}

/// Look up people by address or name, to add them to the space.
#[utoipa::path(
    get, path = "/spaces/{slug}/people", operation_id = "get_people", tag = "Spaces", params(PersonFilter),
    description = "Without `q`, the people who share a space with you. With it, those of them whose \
        name or address has the text, and the user whose whole address it is.",
    responses(
        (status = 200, description = "People, by name", body = [PersonEntry]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<PersonEntry>>> {
    let text = query.text("q").unwrap_or_default();
    let page = read_paging(&mut query, uri, PEOPLE_ORDER);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let rows = users::list_people(&app.db, space.space, space.user.id, text.trim(), &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}
