//! Background tasks that run at an interval until the process stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::health::Heartbeat;

/// Paces the loop of a background task: `while ticks.next().await { … }`.
#[derive(Debug)]
pub struct Periodic {
    interval: Duration,
    stop: CancellationToken,
    is_due: bool,
    heartbeat: Heartbeat,
}

impl Periodic {
    /// The first tick is due immediately, and every further one an interval after the work of the previous
    /// one has ended.
    pub fn new(interval: Duration, stop: CancellationToken) -> Self {
        Self { interval, stop, is_due: true, heartbeat: Heartbeat::default() }
    }

    /// Records a heartbeat at every tick. The pauses between ticks do not count as a stall.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat, ..self }
    }

    /// Waits until the next tick is due; false once the process stops.
    pub async fn next(&mut self) -> bool {
        if !std::mem::take(&mut self.is_due) {
            self.heartbeat.record_before_pause(self.interval);
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.heartbeat.record();
        !self.stop.is_cancelled()
    }

    /// Makes the next tick due immediately, because there is more work.
    pub fn skip_pause(&mut self) {
        self.is_due = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn ticks_are_paced_until_the_stop() {
        let (stop, start) = (CancellationToken::new(), Instant::now());
        let mut ticks = Periodic::new(Duration::from_millis(50), stop.clone());
        assert!(ticks.next().await);
        ticks.skip_pause();
        assert!(ticks.next().await);
        assert!(start.elapsed() < Duration::from_millis(50));
        assert!(ticks.next().await);
        assert!(start.elapsed() >= Duration::from_millis(50));
        stop.cancel();
        assert!(!ticks.next().await);
    }
}
