//! The long-lived parts of the worker as watched tasks: one that panics, or ends before the worker does, ends
//! the process, which the system starts again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use platform::health::{Heartbeat, Heartbeats};
use platform::periodic::Periodic;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// After so many times its limit a stalled part is not waited for any longer.
const MAX_LIMITS: u32 = 3;

/// Starts parts and watches them. Clones share everything.
#[derive(Clone)]
pub(crate) struct WatchedTasks {
    heartbeats: Heartbeats,
    /// How long a part may take for one turn of its loop.
    limit: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The first part that ended too early.
    ended: Arc<OnceLock<&'static str>>,
}

impl WatchedTasks {
    pub(crate) fn new(limit: Duration, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { heartbeats: Heartbeats::default(), limit, tasks, stop, ended: Arc::default() }
    }

    /// Starts a part that beats its heart at every turn of its loop.
    pub(crate) fn spawn<F>(&self, part: &'static str, run: impl FnOnce(Heartbeat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(run(self.heartbeats.register(part, self.limit)));
        self.tasks.spawn(self.clone().watch(part, task));
    }

    /// The same for a part that has a thread of its own.
    pub(crate) fn spawn_blocking(&self, part: &'static str, run: impl FnOnce(Heartbeat) + Send + 'static) {
        let heartbeat = self.heartbeats.register(part, self.limit);
        let task = tokio::task::spawn_blocking(move || run(heartbeat));
        self.tasks.spawn(self.clone().watch(part, task));
    }

    /// Stops the worker when a part has been stalled for so long that it will not go on.
    pub(crate) async fn stop_with_stuck_part(self) {
        let mut checks = Periodic::new(CHECK_INTERVAL, self.stop.clone());
        while checks.next().await {
            let stalled = self.heartbeats.find_stalled().into_iter();
            for (part, age) in stalled.filter(|(_, age)| *age > self.limit * MAX_LIMITS) {
                let seconds = age.as_secs();
                tracing::error!(part, seconds, "part stalled; the worker stops");
                let _ = self.ended.set(part);
                self.stop.cancel();
            }
        }
    }

    /// Stops the worker when a part ends before it was stopped.
    async fn watch(self, part: &'static str, task: JoinHandle<()>) {
        let ended = task.await;
        if let Err(error) = &ended
            && error.is_panic()
        {
            tracing::error!(part, %error, "part panicked; the worker stops");
        } else if !self.stop.is_cancelled() {
            tracing::error!(part, "part ended too early; the worker stops");
        } else {
            return;
        }
        let _ = self.ended.set(part);
        self.stop.cancel();
    }

    pub(crate) fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// The part whose end has stopped the worker.
    pub(crate) fn find_ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> WatchedTasks {
        WatchedTasks::new(Duration::from_secs(60), TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_part_that_panics_stops_the_worker() {
        let tasks = watched();
        tasks.spawn_blocking("projector", |_| panic!("a record that cannot be read"));
        tasks.stop.cancelled().await;
        assert_eq!(tasks.find_ended(), Some("projector"));
    }

    #[tokio::test]
    async fn a_stalled_part_for_long_stops_the_worker() {
        let mut tasks = watched();
        tasks.limit = Duration::ZERO;
        let stop = tasks.stop.clone();
        tasks.spawn("relay", async move |_| stop.cancelled().await);
        tokio::time::timeout(Duration::from_secs(60), tasks.clone().stop_with_stuck_part()).await.unwrap();
        assert_eq!(tasks.find_ended(), Some("relay"));
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_stops_the_worker() {
        let tasks = watched();
        tasks.spawn("relay", async |_| {});
        tasks.stop.cancelled().await;
        assert_eq!(tasks.find_ended(), Some("relay"));
    }

    #[tokio::test]
    async fn a_part_that_ends_after_the_stop_is_no_failure() {
        let tasks = watched();
        let stop = tasks.stop.clone();
        tasks.spawn("relay", async move |_| stop.cancelled().await);
        tasks.stop.cancel();
        tasks.tasks.close();
        tasks.tasks.wait().await;
        assert_eq!(tasks.find_ended(), None);
    }
}
