//! A receiver of messages that keeps what it received and answers as a test says, to inject faults.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// How a receiver answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// 429 with this `Retry-After`, in seconds.
    RetryAfter(u64),
    /// A status and a body.
    Body(u16, &'static str),
    /// 302 to another address.
    Redirect(&'static str),
    /// None, while the connection stays open.
    Silence,
}

/// A request that was received.
#[derive(Clone, Debug)]
pub(super) struct ReceivedRequest {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: String,
}

impl ReceivedRequest {
    pub(super) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The headers of Standard Webhooks.
    pub(super) fn webhook_headers(&self) -> Value {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        names
            .into_iter()
            .map(|name| (name.to_owned(), json!(self.header(name))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The receiver.
#[derive(Clone)]
pub(super) struct FakeReceiver {
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl FakeReceiver {
    pub(super) async fn start(answer: Answer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, answer: Arc::new(Mutex::new(answer)), received: Arc::default() };
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(super) fn set_answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }

    /// The `webhook-id` of each request.
    pub(super) fn ids(&self) -> Vec<String> {
        self.received().iter().map(|request| request.header("webhook-id")).collect()
    }
}

async fn receive(State(receiver): State<FakeReceiver>, headers: HeaderMap, body: String) -> Response {
    receiver.received.lock().unwrap().push(ReceivedRequest { at: Instant::now(), headers, body });
    let answer = *receiver.answer.lock().unwrap();
    match answer {
        Answer::Status(status) => {
            (StatusCode::from_u16(status).unwrap(), "the receiver's words").into_response()
        }
        Answer::RetryAfter(seconds) => {
            let retry_after = [("retry-after", seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, retry_after, "rate_limited").into_response()
        }
        Answer::Body(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Answer::Redirect(location) => (StatusCode::FOUND, [("location", location)]).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}
