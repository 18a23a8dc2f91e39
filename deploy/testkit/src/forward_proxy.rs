//! An HTTP proxy that forwards plain requests, and records them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::response::Response;
use tokio::net::TcpListener;

/// The maximum size of a request, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// The running proxy.
#[derive(Clone)]
pub struct ForwardProxy {
    /// The URL of the proxy.
    pub url: String,
    client: reqwest::Client,
    forwarded: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Starts a proxy that forwards to every address.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redirect = reqwest::redirect::Policy::none();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            client: reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap(),
            forwarded: Arc::default(),
        };
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    /// The URLs of the requests so far.
    pub fn forwarded(&self) -> Vec<String> {
        self.forwarded.lock().unwrap().clone()
    }
}

async fn forward(State(proxy): State<ForwardProxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A client names the whole URL to a proxy.
    let url = parts.uri.to_string();
    proxy.forwarded.lock().unwrap().push(url.clone());
    let body = to_bytes(body, BODY_LIMIT).await.unwrap();
    let mut forwarded = proxy.client.request(parts.method, url).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != HOST) {
        forwarded = forwarded.header(name, value);
    }
    let answer = forwarded.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != TRANSFER_ENCODING) {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
