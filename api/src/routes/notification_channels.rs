//! Channels of notifications: admins list, create, change, delete and test them. Secrets are write-only; a
//! generated signing secret is shown once.

mod target;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::ChannelId;
use platform::notifications::ChannelType;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use strum::VariantArray;
use utoipa::ToSchema;

use self::target::TargetChange;
use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, ValueError, body};
use crate::state::App;
use crate::store::notification_channels::{
    self as channels, ChannelUpdate, NewChannel, NotificationChannel, SaveChannelError,
};

const MAX_NAME_LENGTH: usize = 200;

impl From<SaveChannelError> for ApiError {
    fn from(error: SaveChannelError) -> Self {
        match error {
            SaveChannelError::NameTaken => {
                Self::Conflict("The space has a channel of this name already; choose another")
            }
            SaveChannelError::TooMany => {
                Self::Conflict("The space has 1000 channels; delete one that is not needed")
            }
            SaveChannelError::Database(error) => error.into(),
            SaveChannelError::Secrets(error) => error.into(),
        }
    }
}

/// A channel that was created or changed.
#[derive(Serialize, ToSchema)]
pub(super) struct SavedChannel {
    #[serde(flatten)]
    channel: NotificationChannel,
    /// The signing secret of a webhook, if this request has generated one: it cannot be read again.
    signing_secret: Option<String>,
}

impl SavedChannel {
    fn new(channel: NotificationChannel, generated: Option<&SecretString>) -> Json<Self> {
        let signing_secret = generated.map(|secret| secret.expose_secret().to_owned());
        Json(Self { channel, signing_secret })
    }
}

/// List the channels of the space, by name.
#[utoipa::path(
    get, path = "/notifications/channels", operation_id = "get_notifications_channels", tag = "Notifications",
    responses(
        (status = 200, description = "Channels, by name", body = [NotificationChannel]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<NotificationChannel>> {
    let page = read_paging(&mut query, uri, channels::ORDER);
    query.finish()?;
    let rows = channels::list(&app.db, space.space, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Create a channel. A webhook without a `signing_secret` gets one, which is shown this once.
#[utoipa::path(
    post, path = "/notifications/channels", operation_id = "post_notifications_channels",
    tag = "Notifications", request_body = ref("#/components/schemas/NewChannel"),
    responses(
        (status = 201, description = "The channel", body = SavedChannel, headers(("Location" = String))),
        (status = 409, description = "The name is taken, or there are too many channels"),
    ),
)]
pub(super) async fn create(
    space: SpaceAdmin,
    State(app): State<App>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let mut fields = body.fields()?;
    let name = fields.required("name", body::text_of(1..=MAX_NAME_LENGTH));
    let is_active = fields.optional("is_active", body::boolean).unwrap_or(true);
    let channel_type = fields.required("type", body::one_of(ChannelType::VARIANTS));
    let target = channel_type.map(|kind| TargetChange::read_new(&mut fields, kind, &app.network));
    fields.finish()?;
    let (Some(name), Some(channel_type), Some(target)) = (name, channel_type, target) else {
        return Err(ApiError::Internal);
    };
    let saved = target.apply(&Value::Null, None);
    let new = NewChannel {
        channel_type,
        name: name.trim().to_owned(),
        is_active,
        config: saved.config.unwrap_or_default(),
        secrets: saved.secrets,
    };
    let mut tx = app.db.begin().await?;
    let id = channels::insert(&mut tx, &app.keyring, space.space, space.user.id, &new).await?;
    tx.commit().await?;
    let created = find(&app, &space, id).await?;
    let location = format!("{BASE_PATH}/spaces/{}/orchestration/notifications/channels/{id}", space.slug);
    let body = SavedChannel::new(created, saved.generated.as_ref());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body))
}

/// Get a channel.
#[utoipa::path(
    get, path = "/notifications/channels/{channel_id}",
    operation_id = "get_notifications_channels_by_channel_id", tag = "Notifications",
    responses(
        (status = 200, description = "The channel", body = NotificationChannel),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn get(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(channel): Id<ChannelId>,
) -> ApiResult<Json<NotificationChannel>> {
    find(&app, &space, channel).await.map(Json)
}

/// Change a channel. What is left out stays; `config` and `secrets` are replaced as a whole.
///
/// `secrets` of a webhook exchanges its signing secret: for 24 hours, requests are signed with the previous
/// one, too. Another origin of a PagerDuty address needs `secrets` in the same body.
#[utoipa::path(
    patch, path = "/notifications/channels/{channel_id}",
    operation_id = "patch_notifications_channels_by_channel_id", tag = "Notifications",
    request_body = ref("#/components/schemas/ChannelChange"),
    responses(
        (status = 200, description = "The channel", body = SavedChannel),
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn update(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(channel): Id<ChannelId>,
    body: Body,
) -> ApiResult<Json<SavedChannel>> {
    let mut tx = app.db.begin().await?;
    let before = channels::find_locked(&mut tx, space.space, channel).await?;
    let before = before.ok_or(ApiError::NotFound("Channel"))?;
    let mut fields = body.fields()?;
    let name = fields.if_present("name", body::text_of(1..=MAX_NAME_LENGTH));
    let is_active = fields.if_present("is_active", body::boolean);
    let kind = fields.if_present("type", body::text);
    if kind.is_some_and(|kind| kind != before.channel_type.to_string()) {
        let message = "the type cannot be changed; create another channel";
        fields.add_error("type", ValueError::new("value_error.const", message));
    }
    let target = TargetChange::read_change(&mut fields, before.channel_type, &before.config, &app.network);
    fields.finish()?;
    let saved = if target.has_secrets() {
        target.apply(&before.config, before.secrets(&app.keyring).ok().flatten())
    } else {
        target.apply(&before.config, None)
    };
    let change = ChannelUpdate {
        name: name.map(|name| name.trim().to_owned()),
        is_active,
        config: saved.config,
        secrets: saved.secrets,
    };
    channels::update(&mut tx, &app.keyring, space.space, space.user.id, &before, &change).await?;
    tx.commit().await?;
    let changed = find(&app, &space, channel).await?;
    Ok(SavedChannel::new(changed, saved.generated.as_ref()))
}

/// Delete a channel, with its rules and the log of its deliveries.
#[utoipa::path(
    delete, path = "/notifications/channels/{channel_id}",
    operation_id = "delete_notifications_channels_by_channel_id", tag = "Notifications",
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(channel): Id<ChannelId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    if !channels::delete(&mut tx, space.space, space.user.id, channel).await? {
        return Err(ApiError::NotFound("Channel"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, space: &SpaceAdmin, channel: ChannelId) -> ApiResult<NotificationChannel> {
    let found = channels::find(&app.db, space.space, channel).await?;
    found.ok_or(ApiError::NotFound("Channel"))
}
