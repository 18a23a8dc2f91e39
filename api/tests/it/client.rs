//! Requests to the API under test. Each response is checked against the OpenAPI document.

use std::task::Poll;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use axum::response::Response;
use serde_json::Value;
use tower::ServiceExt;

use crate::app::{SPACE, TestApi};
use crate::conformance;
use crate::response::TestResponse;
use crate::seed::VIEWER;

impl TestApi {
    /// Sends a request; the response's body is not read yet.
    pub(crate) async fn respond(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request as it is, and checks the response against the OpenAPI document.
    pub(crate) async fn raw(&self, request: Request<Body>) -> TestResponse {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let (parts, body) = self.respond(request).await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into())
        };
        let response = TestResponse { status: parts.status, headers: parts.headers, body };
        conformance::check(&method, &path, &response);
        response
    }

    /// Polls a request so many times and then drops it, as the server does when the connection breaks. True
    /// when the response was complete before that.
    pub(crate) async fn abandon(&self, request: Request<Body>, mut polls: usize) -> bool {
        let mut call = std::pin::pin!(self.router.clone().oneshot(request));
        std::future::poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls == 0 => Poll::Ready(false),
            Poll::Pending => {
                polls -= 1;
                Poll::Pending
            }
        })
        .await
    }

    /// Sends a request with a key, to a path below the API's base path.
    pub(crate) async fn send(
        &self,
        method: Method,
        key: &str,
        path: &str,
        body: Option<Value>,
    ) -> TestResponse {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", api::http::BASE_PATH))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.raw(request.body(body).unwrap()).await
    }

    /// Sends a GET as the viewer.
    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        self.send(Method::GET, VIEWER, path, None).await
    }

    /// Sends a GET as the viewer, to a path below the space's `orchestration`; the body of the 200.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.get(&format!("/spaces/{SPACE}/orchestration{path}")).await.expect(200)
    }

    /// Sends a request with a key, to a path below the space's `orchestration`; null is no body.
    pub(crate) async fn request(&self, method: Method, key: &str, path: &str, body: Value) -> TestResponse {
        let body = (!body.is_null()).then_some(body);
        self.send(method, key, &format!("/spaces/{SPACE}/orchestration{path}"), body).await
    }
}
