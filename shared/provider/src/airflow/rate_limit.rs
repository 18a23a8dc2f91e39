//! How fast one server is asked: requests are spaced evenly, and none is sent while the server wants quiet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The pace of one client.
pub(super) struct Pace {
    gap: Duration,
    times: Mutex<Times>,
}

struct Times {
    next: Instant,
    quiet_until: Instant,
}

impl Pace {
    /// At most so many in a second.
    pub fn new(per_second: u16) -> Self {
        let now = Instant::now();
        let gap = Duration::from_secs(1) / u32::from(per_second.max(1));
        Self { gap, times: Mutex::new(Times { next: now, quiet_until: now }) }
    }

    /// Waits for a request's turn.
    pub async fn wait(&self) {
        loop {
            sleep_until(self.turn()).await;
            // Others may have been told to wait meanwhile.
            if self.times().quiet_until <= Instant::now() {
                return;
            }
        }
    }

    /// Lets no request go for so long.
    pub fn rest(&self, wait: Duration) {
        let mut times = self.times();
        times.quiet_until = times.quiet_until.max(Instant::now() + wait);
    }

    fn turn(&self) -> Instant {
        let mut times = self.times();
        let turn = times.next.max(times.quiet_until).max(Instant::now());
        times.next = turn + self.gap;
        turn
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
