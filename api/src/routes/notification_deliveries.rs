//! The messages to a channel with their attempts; sending one again, and testing a channel. The worker sends.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use contract::ids::{ChannelId, DeliveryId};
use platform::notifications::DeliveryStatus;
use strum::VariantArray;

use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Id, Query};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::notification_channels as channels;
use crate::store::notification_deliveries::{
    self as deliveries, DeliveryFilter, DeliveryOutcome, NotificationDelivery,
};

/// A channel and one of its deliveries in the path.
pub(super) struct DeliveryPath {
    channel: ChannelId,
    delivery: DeliveryId,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Id(channel) = Id::from_request_parts(parts, state).await?;
        let Id(delivery) = Id::from_request_parts(parts, state).await?;
        Ok(Self { channel, delivery })
    }
}

/// List the messages to a channel, newest first, each with its attempts.
#[utoipa::path(
    get, path = "/notifications/channels/{channel_id}/deliveries",
    operation_id = "get_notifications_channels_by_channel_id_deliveries", tag = "Notifications",
    params(DeliveryFilter),
    responses(
        (status = 200, description = "Deliveries, newest first", body = [NotificationDelivery]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(channel): Id<ChannelId>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<NotificationDelivery>>> {
    let filter = DeliveryFilter { status: query.words("status", DeliveryStatus::VARIANTS) };
    let page = read_paging(&mut query, uri, deliveries::ORDER);
    query.finish()?;
    if channels::find(&app.db, space.space, channel).await?.is_none() {
        return Err(ApiError::NotFound("Channel"));
    }
    let permit = app.reads.acquire(space.key).await?;
    let rows = deliveries::list(&app.db, space.space, channel, &filter, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// Send a message again, now, with the same `webhook-id`. Failures are retried from the beginning.
#[utoipa::path(
    post, path = "/notifications/channels/{channel_id}/deliveries/{delivery_id}/redeliver",
    operation_id = "post_notifications_channels_by_channel_id_deliveries_by_delivery_id_redeliver",
    tag = "Notifications",
    responses(
        (status = 202, description = "The delivery", body = NotificationDelivery),
        (status = 409, description = "The channel is inactive"),
    ),
)]
pub(super) async fn redeliver(
    space: SpaceAdmin,
    State(app): State<App>,
    DeliveryPath { channel, delivery }: DeliveryPath,
) -> ApiResult<(StatusCode, Json<NotificationDelivery>)> {
    let mut tx = app.db.begin().await?;
    let outcome = deliveries::redeliver(&mut tx, space.space, space.user.id, channel, delivery).await?;
    let delivery = enqueued(outcome)?;
    tx.commit().await?;
    accept(&app, &space, channel, delivery).await
}

/// Send a test message to a channel. Its delivery shows how it went.
#[utoipa::path(
    post, path = "/notifications/channels/{channel_id}/test",
    operation_id = "post_notifications_channels_by_channel_id_test", tag = "Notifications",
    responses(
        (status = 202, description = "The delivery", body = NotificationDelivery),
        (status = 409, description = "The channel is inactive, or tests of it wait already"),
    ),
)]
pub(super) async fn test(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(channel): Id<ChannelId>,
) -> ApiResult<(StatusCode, Json<NotificationDelivery>)> {
    let mut tx = app.db.begin().await?;
    let of_space = (space.space, space.slug.as_str());
    let outcome = deliveries::insert_test(&mut tx, of_space, space.user.id, channel).await?;
    let delivery = enqueued(outcome)?;
    tx.commit().await?;
    accept(&app, &space, channel, delivery).await
}

fn enqueued(outcome: DeliveryOutcome) -> ApiResult<DeliveryId> {
    match outcome {
        DeliveryOutcome::Enqueued(delivery) => Ok(delivery),
        DeliveryOutcome::NotFound => Err(ApiError::NotFound("Delivery")),
        DeliveryOutcome::Inactive => {
            Err(ApiError::Conflict("The channel is switched off; switch it on with is_active"))
        }
        DeliveryOutcome::TooManyTests => {
            Err(ApiError::Conflict("Five tests of this channel wait already; look at its deliveries"))
        }
    }
}

async fn accept(
    app: &App,
    space: &SpaceAdmin,
    channel: ChannelId,
    delivery: DeliveryId,
) -> ApiResult<(StatusCode, Json<NotificationDelivery>)> {
    let found = deliveries::find(&app.db, space.space, channel, delivery).await?;
    found.map(|delivery| (StatusCode::ACCEPTED, Json(delivery))).ok_or(ApiError::NotFound("Delivery"))
}
