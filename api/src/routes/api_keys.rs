//! One's own API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use contract::ids::KeyId;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::auth::keys::{GeneratedKey, digest};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, ValueError, body};
use crate::state::App;
use crate::store::keys::{self, MAX_KEYS, NewKey, OwnKey};

/// A key to be created.
#[derive(ToSchema)]
#[schema(as = NewApiKey)]
pub(super) struct KeyRequest {
    /// What it is for
    #[schema(min_length = 1, max_length = 200)]
    label: String,
    /// When it becomes invalid: a time to come; null for never
    #[schema(required = false)]
    expires_at: Option<DateTime<Utc>>,
    /// Whether it may not write
    #[schema(required = false, default = false)]
    read_only: Option<bool>,
}

/// A key that was just created.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedApiKey)]
pub(super) struct CreatedKey {
    #[serde(flatten)]
    stored: OwnKey,
    /// The key itself, which cannot be read again.
    key: String,
}

/// List one's own keys, newest first.
#[utoipa::path(
    get, path = "/api-keys", operation_id = "get_api_keys", tag = "Keys",
    responses((status = 200, description = "Keys that are not revoked", body = [OwnKey])),
)]
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<OwnKey>> {
    let page = read_paging(&mut query, uri, keys::ORDER);
    query.finish()?;
    let rows = keys::list_own(&app.db, caller.user.id, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Create a key.
#[utoipa::path(
    post, path = "/api-keys", operation_id = "post_api_keys", tag = "Keys", request_body = KeyRequest,
    responses(
        (status = 201, description = "The key, shown this once", body = CreatedKey),
        (status = 409, description = "There are too many valid keys"),
    ),
)]
pub(super) async fn create(
    caller: Caller,
    State(app): State<App>,
    body: Body,
) -> ApiResult<(StatusCode, Json<CreatedKey>)> {
    let request = read(body)?;
    let generated = GeneratedKey::random();
    let new = NewKey {
        user: caller.user.id,
        label: &request.label,
        prefix: &generated.prefix,
        sha256: digest(&generated.key),
        read_only: request.read_only.unwrap_or(false),
        expires_at: request.expires_at,
    };
    let mut tx = app.db.begin().await?;
    if keys::count_valid(&mut tx, new.user).await? >= MAX_KEYS {
        return Err(ApiError::Conflict("You have 100 valid keys; revoke one that is not needed"));
    }
    let id = keys::insert(&mut tx, &new).await?;
    let details = json!({
        "user_id": new.user, "label": new.label, "read_only": new.read_only, "expires_at": new.expires_at,
    });
    let event = AuditEvent::new(Actor::User(new.user), Action::KeyCreated, id, details);
    audit::insert_for_user(&mut tx, new.user, &event).await?;
    tx.commit().await?;
    let stored = keys::find_own(&app.db, new.user, id).await?.ok_or(ApiError::NotFound("Key"))?;
    Ok((StatusCode::CREATED, Json(CreatedKey { stored, key: generated.key })))
}

fn read(body: Body) -> ApiResult<KeyRequest> {
    let mut fields = body.fields()?;
    let label = fields.required("label", body::text_of(1..=200));
    let expires_at = fields.optional("expires_at", body::time);
    let read_only = fields.optional("read_only", body::boolean);
    if expires_at.is_some_and(|time| time <= Utc::now()) {
        let error = ValueError::new("value_error.date.not_in_the_future", "ensure this time is to come");
        fields.add_error("expires_at", error);
    }
    fields.finish()?;
    Ok(KeyRequest { label: label.unwrap_or_default(), expires_at, read_only })
}

/// Revoke one of one's own keys, effective at once.
#[utoipa::path(
    delete, path = "/api-keys/{key_id}", operation_id = "delete_api_keys_by_key_id", tag = "Keys",
    responses((status = 204, description = "Revoked")),
)]
pub(super) async fn revoke(
    caller: Caller,
    State(app): State<App>,
    Id(id): Id<KeyId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    let found = keys::find_locked(&mut tx, id).await?;
    let own = found.filter(|key| key.user_id == caller.user.id && key.revoked_at.is_none());
    let key = own.ok_or(ApiError::NotFound("Key"))?;
    keys::revoke(&mut tx, id).await?;
    let details = json!({"user_id": key.user_id, "label": key.label});
    let event = AuditEvent::new(Actor::User(caller.user.id), Action::KeyRevoked, id, details);
    audit::insert_for_user(&mut tx, key.user_id, &event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
