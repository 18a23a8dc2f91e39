//! The user of the key, and their spaces.

use axum::Json;
use axum::extract::State;
use contract::ids::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::http::error::ApiResult;
use crate::state::App;
use crate::store::members::{self, Membership};

/// A person and their spaces.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    pub user: Myself,
    pub spaces: Vec<Membership>,
}

/// A person, as they see themselves.
#[derive(Serialize, ToSchema)]
pub(super) struct Myself {
    #[schema(value_type = Uuid)]
    pub id: UserId,
    pub name: String,
    pub email: String,
}

/// Who the key speaks for, and in which spaces.
#[utoipa::path(
    get, path = "/me", operation_id = "get_me", tag = "Spaces",
    responses((status = 200, description = "Who and where", body = Me)),
)]
pub(super) async fn get(caller: Caller, State(app): State<App>) -> ApiResult<Json<Me>> {
    let spaces = members::list_of_user(&app.db, caller.user.id).await?;
    let user = Myself { id: caller.user.id, name: caller.user.name, email: caller.email };
    Ok(Json(Me { user, spaces }))
}
