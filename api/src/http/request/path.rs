//! The ids in the path of a request.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use contract::ids::{CommentId, ConnectorId, PipelineId, RunId, SyncId, TaskRunId};
use uuid::Uuid;

use super::value;
use crate::http::error::ApiError;

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
impl PathId for SyncId {
    const NAME: &'static str = "sync_id";
}

/// The id of this type in the path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| ApiError::NotFound("Resource"))?;
        let text = params.iter().find(|(name, _)| *name == T::NAME).map_or("", |(_, text)| text);
        match value::uuid(text) {
            Ok(id) => Ok(Self(id.into())),
            Err(error) => Err(ApiError::Invalid(vec![error.at(&["path", T::NAME])])),
        }
    }
}
