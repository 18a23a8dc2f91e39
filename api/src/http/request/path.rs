//! Ids in the path.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use contract::ids::{CommentId, ConnectorId, PipelineId, RunId, SyncId, TaskRunId};
use uuid::Uuid;

use super::{Fault, value};
use crate::http::error::ApiError;

/// An id that the path holds under its own name.
pub trait Named: From<Uuid> {
    const NAME: &'static str;
}

impl Named for PipelineId {
    const NAME: &'static str = "pipeline_id";
}
impl Named for RunId {
    const NAME: &'static str = "run_id";
}
impl Named for TaskRunId {
    const NAME: &'static str = "task_run_id";
}
impl Named for CommentId {
    const NAME: &'static str = "comment_id";
}
impl Named for ConnectorId {
    const NAME: &'static str = "connector_id";
}
impl Named for SyncId {
    const NAME: &'static str = "sync_id";
}

/// The id of this kind in the path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| ApiError::NotFound("Resource"))?;
        let text = params.iter().find(|(name, _)| *name == T::NAME).map_or("", |(_, text)| text);
        match value::uuid(text) {
            Ok(id) => Ok(Self(id.into())),
            Err(wrong) => Err(ApiError::Invalid(vec![Fault::new(&["path", T::NAME], wrong)])),
        }
    }
}
