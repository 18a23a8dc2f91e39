//! The rate limit of one server: requests are spaced evenly, and none is sent during the server's
//! `Retry-After`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spaces the requests of one client.
pub(super) struct RateLimiter {
    interval: Duration,
    state: Mutex<RateLimiterState>,
}

struct RateLimiterState {
    next: Instant,
    paused_until: Instant,
}

impl RateLimiter {
    /// Allows at most this many requests per second.
    pub(super) fn new(per_second: u16) -> Self {
        let now = Instant::now();
        let interval = Duration::from_secs(1) / u32::from(per_second.max(1));
        Self { interval, state: Mutex::new(RateLimiterState { next: now, paused_until: now }) }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn wait(&self) {
        loop {
            sleep_until(self.next_slot()).await;
            // Another response may have paused the client meanwhile.
            if self.state().paused_until <= Instant::now() {
                return;
            }
        }
    }

    /// Sends no request for this long.
    pub(super) fn pause(&self, wait: Duration) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Instant::now() + wait);
    }

    fn next_slot(&self) -> Instant {
        let mut state = self.state();
        let slot = state.next.max(state.paused_until).max(Instant::now());
        state.next = slot + self.interval;
        slot
    }

    fn state(&self) -> MutexGuard<'_, RateLimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
