//! Supervision of a program's long-lived tasks: a task that panics, ends early or stalls stops the process,
//! which its supervisor then restarts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::{Heartbeat, Heartbeats};
use crate::periodic::Periodic;

const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The process stops when a task has been stalled for this many times its limit.
const MAX_STALLED_LIMITS: u32 = 3;

/// Spawns tasks and watches them. Clones share their state.
#[derive(Clone, Debug)]
pub struct WatchedTasks {
    heartbeats: Heartbeats,
    /// The maximum duration of one iteration of a task.
    limit: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The first task that stopped the process.
    failed: Arc<OnceLock<&'static str>>,
}

impl WatchedTasks {
    pub fn new(limit: Duration, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { heartbeats: Heartbeats::default(), limit, tasks, stop, failed: Arc::default() }
    }

    /// Spawns a task that records a heartbeat in every iteration.
    pub fn spawn<F>(&self, name: &'static str, run: impl FnOnce(Heartbeat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(run(self.heartbeats.register(name, self.limit)));
        self.tasks.spawn(self.clone().watch(name, task));
    }

    /// Spawns such a task on a thread of its own.
    pub fn spawn_blocking(&self, name: &'static str, run: impl FnOnce(Heartbeat) + Send + 'static) {
        let heartbeat = self.heartbeats.register(name, self.limit);
        let task = tokio::task::spawn_blocking(move || run(heartbeat));
        self.tasks.spawn(self.clone().watch(name, task));
    }

    /// Stops the process when a task has been stalled for `MAX_STALLED_LIMITS` times its limit.
    pub async fn stop_on_stalled_task(self) {
        let mut checks = Periodic::new(CHECK_INTERVAL, self.stop.clone());
        while checks.next().await {
            let stalled = self.heartbeats.find_stalled().into_iter();
            for (task, age) in stalled.filter(|(_, age)| *age > self.limit * MAX_STALLED_LIMITS) {
                let seconds = age.as_secs();
                tracing::error!(task, seconds, "task stalled; the process stops");
                let _ = self.failed.set(task);
                self.stop.cancel();
            }
        }
    }

    /// Stops the process when a task ends before the process stops.
    async fn watch(self, task: &'static str, handle: JoinHandle<()>) {
        let ended = handle.await;
        if let Err(error) = &ended
            && error.is_panic()
        {
            tracing::error!(task, %error, "task panicked; the process stops");
        } else if !self.stop.is_cancelled() {
            tracing::error!(task, "task ended too early; the process stops");
        } else {
            return;
        }
        let _ = self.failed.set(task);
        self.stop.cancel();
    }

    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// The name of the task that stopped the process.
    pub fn find_failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> WatchedTasks {
        WatchedTasks::new(Duration::from_secs(60), TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_task_that_panics_stops_the_process() {
        let tasks = watched();
        tasks.spawn_blocking("projector", |_| panic!("a record that cannot be read"));
        tasks.stop.cancelled().await;
        assert_eq!(tasks.find_failed(), Some("projector"));
    }

    #[tokio::test]
    async fn a_task_that_is_stalled_for_long_stops_the_process() {
        let mut tasks = watched();
        tasks.limit = Duration::ZERO;
        let stop = tasks.stop.clone();
        tasks.spawn("relay", async move |_| stop.cancelled().await);
        tokio::time::timeout(Duration::from_secs(60), tasks.clone().stop_on_stalled_task()).await.unwrap();
        assert_eq!(tasks.find_failed(), Some("relay"));
    }

    #[tokio::test]
    async fn a_task_that_ends_early_stops_the_process() {
        let tasks = watched();
        tasks.spawn("relay", async |_| {});
        tasks.stop.cancelled().await;
        assert_eq!(tasks.find_failed(), Some("relay"));
    }

    #[tokio::test]
    async fn a_task_that_ends_after_the_stop_is_no_failure() {
        let tasks = watched();
        let stop = tasks.stop.clone();
        tasks.spawn("relay", async move |_| stop.cancelled().await);
        tasks.stop.cancel();
        tasks.tasks.close();
        tasks.tasks.wait().await;
        assert_eq!(tasks.find_failed(), None);
    }
}
