//! The ids in the path of a request.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use contract::ids::{
    ChannelId, CommentId, ConnectorId, DeliveryId, GroupMappingId, IncidentId, KeyId, PipelineId, RuleId,
    RunId, SessionId, SyncId, TaskRunId, TeamId, UserId,
};
use uuid::Uuid;

use super::value;
use crate::http::error::{ApiError, ApiResult};

/// An id with the name of its path parameter.
pub trait PathId: From<Uuid> {
    const NAME: &'static str;
}

impl PathId for PipelineId {
    const NAME: &'static str = "pipeline_id";
}
impl PathId for RunId {
    const NAME: &'static str = "run_id";
}
impl PathId for TaskRunId {
    const NAME: &'static str = "task_run_id";
}
impl PathId for CommentId {
    const NAME: &'static str = "comment_id";
}
impl PathId for ConnectorId {
    const NAME: &'static str = "connector_id";
}
impl PathId for IncidentId {
    const NAME: &'static str = "incident_id";
}
impl PathId for KeyId {
    const NAME: &'static str = "key_id";
}
impl PathId for TeamId {
    const NAME: &'static str = "team_id";
}
impl PathId for UserId {
    const NAME: &'static str = "user_id";
}
impl PathId for SessionId {
    const NAME: &'static str = "session_id";
}
impl PathId for GroupMappingId {
    const NAME: &'static str = "group_mapping_id";
}
impl PathId for SyncId {
    const NAME: &'static str = "sync_id";
}
impl PathId for ChannelId {
    const NAME: &'static str = "channel_id";
}
impl PathId for RuleId {
    const NAME: &'static str = "rule_id";
}
impl PathId for DeliveryId {
    const NAME: &'static str = "delivery_id";
}

/// The id of this type in the path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_parameter(parts, state, T::NAME).await?;
        match value::uuid(&text) {
            Ok(id) => Ok(Self(id.into())),
            Err(error) => Err(ApiError::Invalid(vec![error.at(&["path", T::NAME])])),
        }
    }
}

/// Returns a parameter of the path; empty if the route has none of this name.
pub async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> ApiResult<String> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| ApiError::NotFound("Resource"))?;
    let found = params.iter().find(|(known, _)| *known == name);
    Ok(found.map(|(_, text)| text.to_owned()).unwrap_or_default())
}
