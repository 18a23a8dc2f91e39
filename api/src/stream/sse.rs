//! One open stream as a response body of Server-Sent Events: changes, heartbeats, and the reason of its end.
//! It stores only a cursor and produces the next chunk on demand, so that a slow client costs no memory.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use contract::ids::SpaceId;
use futures::stream::unfold;
use rand::Rng;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::buffer::{Cursor, Gap};
use super::cursor::Positions;
use super::filter::EventFilter;
use super::hub::{StreamHub, StreamPermit};

/// The interval between two checks of the access: a stream ends within three seconds.
const ACCESS_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The reconnection delay of a client in milliseconds, random so that the clients do not reconnect all at
/// once.
const RETRY_MILLIS: Range<u32> = 1_000..4_000;

/// The event after which a client must read everything again.
const RESET: &str = "event: reset\n\
    data: {\"detail\":\"What happened since the last event cannot be told any more; \
    read everything again\"}\n";

struct SseStream<F> {
    hub: Arc<StreamHub>,
    space: SpaceId,
    filter: EventFilter,
    still_allowed: F,
    cursor: Cursor,
    updates: watch::Receiver<bool>,
    /// The first chunk, until it is sent.
    preamble: Option<String>,
    next_access_check: Instant,
    next_heartbeat: Instant,
    has_ended: bool,
    _permit: StreamPermit,
}

/// The reason for which the service ends a stream.
#[derive(Clone, Copy, Debug)]
enum EndReason {
    AccessLost,
    TooSlow,
    Stopping,
}

/// Returns the body with the changes of a space after `last_event_id`, or from now on. `still_allowed` is
/// called every few seconds, and the stream ends once it returns false.
pub(crate) fn stream<F, A>(
    hub: Arc<StreamHub>,
    space: SpaceId,
    filter: EventFilter,
    permit: StreamPermit,
    last_event_id: Option<&str>,
    still_allowed: F,
) -> Body
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = bool> + Send,
{
    let updates = hub.updates.subscribe();
    let (cursor, preamble) = preamble(&hub, space, last_event_id);
    let now = Instant::now();
    let stream = SseStream {
        next_access_check: now + ACCESS_CHECK_INTERVAL,
        next_heartbeat: now + hub.heartbeat(),
        hub,
        space,
        filter,
        still_allowed,
        cursor,
        updates,
        preamble: Some(preamble),
        has_ended: false,
        _permit: permit,
    };
    Body::from_stream(unfold(stream, |mut stream| async {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    }))
}

/// Returns the cursor of a new stream and its first chunk.
fn preamble(hub: &StreamHub, space: SpaceId, last_event_id: Option<&str>) -> (Cursor, String) {
    let buffer = hub.buffer();
    let retry = rand::rng().random_range(RETRY_MILLIS);
    let resumed = last_event_id.map(|id| {
        let positions = Positions::open(&hub.keyring, space, id);
        positions.and_then(|positions| buffer.resume(positions))
    });
    let (cursor, reset) = match resumed {
        Some(Some(cursor)) => (cursor, ""),
        Some(None) => (buffer.end_cursor(), RESET),
        None => (buffer.end_cursor(), ""),
    };
    let id = buffer.id_line(&cursor, space, &hub.keyring).unwrap_or_default();
    (cursor, format!("retry: {retry}\n{reset}{id}\n"))
}

impl<F, A> SseStream<F>
where
    F: Fn() -> A,
    A: Future<Output = bool>,
{
    /// Returns the next chunk; none once the stream has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        if let Some(preamble) = self.preamble.take() {
            return Some(preamble.into());
        }
        loop {
            if self.hub.stopping.is_cancelled() {
                return Some(self.end(EndReason::Stopping));
            }
            if self.next_access_check <= Instant::now() {
                if !(self.still_allowed)().await {
                    return Some(self.end(EndReason::AccessLost));
                }
                self.next_access_check = Instant::now() + ACCESS_CHECK_INTERVAL;
            }
            if let Some(chunk) = self.read() {
                self.next_heartbeat = Instant::now() + self.hub.heartbeat();
                return Some(chunk);
            }
            let until = self.next_access_check.min(self.next_heartbeat);
            tokio::select! {
                _ = self.updates.changed() => {}
                () = sleep_until(until) => {}
                () = self.hub.stopping.clone().cancelled_owned() => {}
            }
        }
    }

    /// Returns the chunk that is due now, if any.
    fn read(&mut self) -> Option<Bytes> {
        // Marked as seen before the read, so that a change which arrives during it wakes the stream.
        let is_readable = *self.updates.borrow_and_update();
        let hub = self.hub.clone();
        let buffer = hub.buffer();
        // Until the tail has caught up after a restart, the buffer is incomplete.
        let read = if is_readable {
            buffer.read(&mut self.cursor, (self.space, &self.filter), &hub.keyring)
        } else {
            Ok(None)
        };
        match read {
            Ok(None) if self.next_heartbeat <= Instant::now() => {
                // An id without data is no event, but the client stores it.
                let id = buffer.id_line(&self.cursor, self.space, &hub.keyring).unwrap_or_default();
                Some(format!(": nothing new\n{id}\n").into())
            }
            Ok(chunk) => chunk,
            Err(Gap::Overtaken) => Some(self.end(EndReason::TooSlow)),
            Err(Gap::Unknown) => {
                self.cursor = buffer.end_cursor();
                let id = buffer.id_line(&self.cursor, self.space, &hub.keyring).unwrap_or_default();
                Some(format!("{RESET}{id}\n").into())
            }
        }
    }

    fn end(&mut self, reason: EndReason) -> Bytes {
        self.has_ended = true;
        let (reason, detail) = reason.reason_and_detail();
        metrics::counter!("orchestration_live_streams_ended_total", "reason" => reason).increment(1);
        tracing::debug!(reason, "event stream ended");
        format!("event: end\ndata: {}\n\n", json!({"reason": reason, "detail": detail})).into()
    }
}

impl EndReason {
    /// Returns the reason code, and its description for people.
    fn reason_and_detail(self) -> (&'static str, &'static str) {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::to_bytes;
    use contract::ids::KeyId;
    use sqlx::postgres::PgPoolOptions;
    use testkit::{kafka_config, keyring};
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::super::hub::StreamConfig;
    use super::*;

    /// Opens a stream whose access is lost right after its first check, and returns how long it goes on.
    async fn duration_after_loss() -> Duration {
        let db = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
        let config =
            StreamConfig { streams: 1, streams_per_key: 1, stream_history: 100, stream_heartbeat: 15 };
        let kafka = kafka_config("127.0.0.1:9", "");
        let hub = Arc::new(StreamHub::new(kafka, config, db, keyring("a"), CancellationToken::new()));
        let permit = hub.acquire(KeyId(Uuid::nil())).ok().unwrap();
        let lost_at = Arc::new(Mutex::new(None));
        let checked = lost_at.clone();
        let still_allowed = move || {
            let mut lost_at = checked.lock().unwrap();
            let is_first = lost_at.is_none();
            lost_at.get_or_insert_with(Instant::now);
            std::future::ready(is_first)
        };
        let body = stream(hub, SpaceId(Uuid::nil()), EventFilter::default(), permit, None, still_allowed);
        let text = to_bytes(body, 10_000).await.unwrap();
        assert!(String::from_utf8_lossy(&text).contains("access_lost"), "{text:?}");
        let lost_at = *lost_at.lock().unwrap();
        lost_at.unwrap().elapsed()
    }

    #[tokio::test]
    async fn a_stream_ends_within_three_seconds_after_its_access_is_lost() {
        let mut durations = Vec::new();
        // A busy machine is late once or twice, but not each time.
        for _ in 0..5 {
            durations.push(duration_after_loss().await);
            if durations.iter().any(|duration| *duration < Duration::from_secs(3)) {
                return;
            }
        }
        panic!("{durations:?}");
    }
}
