//! Responses to expensive reads: a permit of the read queue is held while the body is built, or until a large
//! body was sent.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ReadPermit;
use crate::http::error::ApiResult;

/// A response that is built before the permit of its read is returned.
pub(crate) struct Permitted<T> {
    pub response: T,
    /// None if the read needed none.
    pub permit: Option<ReadPermit>,
}

impl<T> Permitted<T> {
    pub(crate) fn new(response: T, permit: ReadPermit) -> Self {
        Self { response, permit: Some(permit) }
    }
}

impl<T: IntoResponse> IntoResponse for Permitted<T> {
    fn into_response(self) -> Response {
        let Self { response, permit } = self;
        let response = response.into_response();
        drop(permit);
        response
    }
}

/// Returns a response with a large JSON body, which returns the permit when the body was sent or its client
/// has left.
///
/// # Errors
/// When the content cannot be written as JSON.
pub(crate) fn large_json<T: Serialize>(content: &T, permit: ReadPermit) -> ApiResult<Response> {
    let body = PermittedBody { json: serde_json::to_vec(content)?, _permit: permit };
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, content_type)], Body::from(Bytes::from_owner(body))).into_response())
}

struct PermittedBody {
    json: Vec<u8>,
    _permit: ReadPermit,
}

impl AsRef<[u8]> for PermittedBody {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use contract::ids::KeyId;
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;
    use crate::read_queue::ReadQueue;

    fn is_occupied(queue: &ReadQueue) -> bool {
        queue.acquire(KeyId(Uuid::from_u128(2))).now_or_never().is_none()
    }

    struct QueueObserver(ReadQueue);

    impl IntoResponse for QueueObserver {
        fn into_response(self) -> Response {
            assert!(is_occupied(&self.0), "the permit is held while the body is built");
            ().into_response()
        }
    }

    #[tokio::test]
    async fn a_permit_is_returned_after_the_body_was_built() {
        let queue = ReadQueue::of_pool(1);
        let permit = queue.acquire(KeyId(Uuid::from_u128(1))).await.unwrap();
        let _response = Permitted::new(QueueObserver(queue.clone()), permit).into_response();
        assert!(!is_occupied(&queue));
    }

    #[tokio::test]
    async fn the_permit_of_a_large_body_is_returned_after_the_body() {
        let queue = ReadQueue::of_pool(1);
        let permit = queue.acquire(KeyId(Uuid::from_u128(1))).await.unwrap();
        let response = large_json(&["large"], permit).unwrap();
        let sent = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(&sent[..], br#"["large"]"#);
        assert!(is_occupied(&queue));
        drop(sent);
        assert!(!is_occupied(&queue));
    }
}
