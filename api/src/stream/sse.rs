//! One open stream, as its client reads it: changes, heartbeats, and why it ends. It holds nothing but a cursor, and
//! looks for the next chunk only when the client has taken the last one, so that a slow client costs no memory.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream::unfold;
use rand::Rng;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::buffer::{Cursor, Gap};
use super::filter::EventFilter;
use super::{Positions, Seat};
use crate::auth::SpaceViewer;
use crate::state::App;

/// How often it is asked whether the key still gives access.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// Milliseconds after which a client should come back: each another time, so that not all come at once.
const RETRY: std::ops::Range<u32> = 1_000..4_000;

struct Stream {
    app: App,
    viewer: SpaceViewer,
    filter: EventFilter,
    cursor: Cursor,
    news: watch::Receiver<bool>,
    /// What is said before anything else.
    greeting: Option<String>,
    check_at: Instant,
    beat_at: Instant,
    has_ended: bool,
    _seat: Seat,
}

/// Why the service ends a stream.
#[derive(Clone, Copy, Debug)]
enum End {
    AccessLost,
    TooSlow,
    Stopping,
}

/// The body of an answer that goes on: what comes after `last_event_id`, or from now on.
pub fn stream(
    app: App,
    viewer: SpaceViewer,
    filter: EventFilter,
    seat: Seat,
    last_event_id: Option<&str>,
) -> Body {
    let news = app.live.news.subscribe();
    let (cursor, greeting) = greet(&app, &viewer, last_event_id);
    let now = Instant::now();
    let stream = Stream {
        check_at: now + CHECK_EVERY,
        beat_at: now + app.live.heartbeat(),
        app,
        viewer,
        filter,
        cursor,
        news,
        greeting: Some(greeting),
        has_ended: false,
        _seat: seat,
    };
    Body::from_stream(unfold(stream, |mut stream| async {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    }))
}

/// Where a client begins, and what it is told of that.
fn greet(app: &App, viewer: &SpaceViewer, last_event_id: Option<&str>) -> (Cursor, String) {
    let ring = app.live.ring();
    let retry = rand::rng().random_range(RETRY);
    let resumed = last_event_id.map(|id| {
        let positions = Positions::open(&app.keyring, viewer.space, id);
        positions.and_then(|positions| ring.resume(positions))
    });
    let (cursor, reset) = match resumed {
        Some(Some(cursor)) => (cursor, ""),
        Some(None) => (ring.now(), RESET),
        None => (ring.now(), ""),
    };
    let standing = ring.standing(&cursor, viewer.space, &app.keyring).unwrap_or_default();
    (cursor, format!("retry: {retry}\n{reset}{standing}\n"))
}

const RESET: &str = "event: reset\n\
    data: {\"detail\":\"What happened since the last event cannot be told any more; read everything again\"}\n";

impl Stream {
    /// The next chunk; none when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting.into());
        }
        loop {
            if self.app.stopping.is_cancelled() {
                return Some(self.end(End::Stopping));
            }
            if self.check_at <= Instant::now() {
                if !self.may_listen().await {
                    return Some(self.end(End::AccessLost));
                }
                self.check_at = Instant::now() + CHECK_EVERY;
            }
            if let Some(chunk) = self.read() {
                self.beat_at = Instant::now() + self.app.live.heartbeat();
                return Some(chunk);
            }
            let until = self.check_at.min(self.beat_at);
            tokio::select! {
                _ = self.news.changed() => {}
                () = sleep_until(until) => {}
                () = self.app.stopping.clone().cancelled_owned() => {}
            }
        }
    }

    /// What there is to say now.
    fn read(&mut self) -> Option<Bytes> {
        // Seen before it is read, so that what comes in between wakes us.
        let is_reading = *self.news.borrow_and_update();
        let app = self.app.clone();
        let ring = app.live.ring();
        let space = self.viewer.space;
        let read = match is_reading {
            true => ring.read(&mut self.cursor, (space, &self.filter), &app.keyring),
            // What lies there while reading begins anew is the past.
            false => Ok(None),
        };
        match read {
            Ok(None) if self.beat_at <= Instant::now() => {
                // Without data it is no event, and yet the client remembers where it stands.
                let standing = ring.standing(&self.cursor, space, &app.keyring).unwrap_or_default();
                Some(format!(": nothing new\n{standing}\n").into())
            }
            Ok(chunk) => chunk,
            Err(Gap::Overtaken) => Some(self.end(End::TooSlow)),
            Err(Gap::Unknown) => {
                self.cursor = ring.now();
                let standing = ring.standing(&self.cursor, space, &app.keyring).unwrap_or_default();
                Some(format!("{RESET}{standing}\n").into())
            }
        }
    }

    /// Whether the key still gives access. While PostgreSQL cannot say, nothing new is told to anybody.
    async fn may_listen(&self) -> bool {
        self.viewer.may_still_read(&self.app).await.unwrap_or_else(|error| {
            tracing::debug!(?error, "whether a stream may go on is not known");
            true
        })
    }

    fn end(&mut self, why: End) -> Bytes {
        self.has_ended = true;
        let (reason, detail) = why.words();
        metrics::counter!("orchestration_live_streams_ended_total", "reason" => reason).increment(1);
        tracing::debug!(reason, "a stream ends");
        format!("event: end\ndata: {}\n\n", json!({"reason": reason, "detail": detail})).into()
    }
}

impl End {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::AccessLost => {
                ("access_lost", "The key was revoked, or its user is no longer a member of the space")
            }
            Self::TooSlow => {
                ("too_slow", "Events came faster than they were read; come back with the last id")
            }
            Self::Stopping => ("stopping", "The service is stopping; come back with the last id"),
        }
    }
}
