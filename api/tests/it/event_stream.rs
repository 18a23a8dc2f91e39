//! A client of the event stream that parses Server-Sent Events.

use std::time::Duration;

use api::http::BASE_PATH;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::app::{SPACE, TestApi};

const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct StreamClient {
    /// None when the connection breaks.
    chunks: BoxStream<'static, Option<Vec<u8>>>,
    unread: Vec<u8>,
    pub headers: HeaderMap,
    /// The id of the last frame, to resume from.
    pub last_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamedEvent {
    /// The event's name; `:` for a heartbeat.
    pub kind: String,
    pub data: Value,
}

impl StreamClient {
    /// Opens a stream of the first space's events, with a key or the cookie of a session.
    pub(crate) async fn open(api: &str, key: &str, query: &str, last_id: Option<&str>) -> Self {
        Self::open_in(SPACE, api, key, query, last_id).await
    }

    /// Opens a stream of a space's events, and retries until the API has read from Kafka.
    pub(crate) async fn open_in(
        space: &str,
        api: &str,
        key: &str,
        query: &str,
        last_id: Option<&str>,
    ) -> Self {
        let opened = async {
            loop {
                match Self::try_open(space, api, key, query, last_id).await {
                    Ok(stream) => return stream,
                    Err((code, body)) => assert_eq!(code, 503, "{body}"),
                }
            }
        };
        tokio::time::timeout(TIMEOUT, opened).await.expect("the API reads from Kafka")
    }

    /// Opens a stream of the first space's events from the router in this process: no socket buffers unread
    /// events.
    pub(crate) async fn within(test: &TestApi, key: &str) -> Self {
        let uri = format!("{BASE_PATH}/spaces/{SPACE}/orchestration/events");
        let request = async || {
            let request = Request::builder().uri(&uri).header("authorization", format!("Bearer {key}"));
            test.respond(request.body(Body::empty()).unwrap()).await
        };
        let opened = async {
            loop {
                match request().await {
                    response if response.status() == 200 => return response,
                    response => assert_eq!(response.status(), 503),
                }
            }
        };
        let response = tokio::time::timeout(TIMEOUT, opened).await.expect("the API reads from Kafka");
        let (parts, body) = response.into_parts();
        let chunks = body.into_data_stream().map(|chunk| chunk.ok().map(|bytes| bytes.to_vec())).boxed();
        Self { chunks, unread: Vec::new(), headers: parts.headers, last_id: None }
    }

    /// Tries once: the stream, or the status and body of the response, with status 0 if there was none.
    pub(crate) async fn try_open(
        space: &str,
        api: &str,
        key: &str,
        query: &str,
        last_id: Option<&str>,
    ) -> Result<Self, (u16, Value)> {
        let url = format!("{api}/api/v1.0/spaces/{space}/orchestration/events?{query}");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(url).header("accept-encoding", "gzip");
        request =
            if key.starts_with("qk_") { request.bearer_auth(key) } else { request.header("cookie", key) };
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(|error| (0, error.to_string().into()))?;
        if response.status() != 200 {
            return Err((response.status().as_u16(), response.json().await.unwrap()));
        }
        let headers = response.headers().clone();
        let chunks = response.bytes_stream().map(|chunk| chunk.ok().map(|bytes| bytes.to_vec())).boxed();
        Ok(Self { chunks, unread: Vec::new(), headers, last_id: last_id.map(str::to_owned) })
    }

    /// The next event; none when the stream has ended or the connection is broken.
    pub(crate) async fn next(&mut self) -> Option<StreamedEvent> {
        let next = async {
            loop {
                let event = self.next_frame().await?;
                if !matches!(event.kind.as_str(), "" | ":") {
                    return Some(event);
                }
            }
        };
        tokio::time::timeout(TIMEOUT, next).await.expect("an event or an end")
    }

    /// The next `count` events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<StreamedEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("another event"));
        }
        events
    }

    /// Waits for the next heartbeat, and fails if an event comes before it.
    #[track_caller]
    pub(crate) fn expect_heartbeat(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            loop {
                let frame = self.next_frame().await.expect("a heartbeat");
                match frame.kind.as_str() {
                    ":" => return,
                    "" => {}
                    _ => panic!("{frame:?} at {caller}"),
                }
            }
        }
    }

    /// The next frame, an event or not; its id is stored.
    async fn next_frame(&mut self) -> Option<StreamedEvent> {
        let end = loop {
            match self.unread.windows(2).position(|pair| pair == b"\n\n") {
                Some(end) => break end,
                None => {
                    let chunk = tokio::time::timeout(TIMEOUT, self.chunks.next());
                    self.unread.extend(chunk.await.expect("a frame")??);
                }
            }
        };
        let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
        let mut event = StreamedEvent { kind: String::new(), data: Value::Null };
        for line in String::from_utf8(frame).unwrap().lines() {
            match line.split_once(": ") {
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                _ if line.starts_with(':') => event.kind = ":".to_owned(),
                _ => {}
            }
        }
        Some(event)
    }
}

impl StreamedEvent {
    /// The id and version of the entity.
    pub(crate) fn version(&self) -> (String, i64) {
        let id = self.data["id"].as_str().unwrap_or_else(|| panic!("{self:?} has no id"));
        (id.to_owned(), self.data["version"].as_i64().unwrap())
    }
}
