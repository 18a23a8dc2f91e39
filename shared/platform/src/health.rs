//! Readiness: whether PostgreSQL and Kafka respond. Liveness: whether every long-lived task of a process
//! still records heartbeats.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::kafka::KafkaProbe;

const POSTGRES_TIMEOUT: Duration = Duration::from_secs(2);
const HEARTBEAT_AGE: &str = "orchestration_heartbeat_age_seconds";

/// Checks both servers, each within two seconds.
///
/// # Errors
/// A sentence that names the server that does not respond.
pub async fn check_readiness(pool: &PgPool, kafka: &KafkaProbe) -> Result<(), &'static str> {
    match tokio::join!(is_postgres_reachable(pool), kafka.is_reachable()) {
        (true, true) => Ok(()),
        (false, true) => Err("PostgreSQL does not answer"),
        (true, false) => Err("Kafka does not answer"),
        (false, false) => Err("PostgreSQL and Kafka do not answer"),
    }
}

async fn is_postgres_reachable(pool: &PgPool) -> bool {
    let query = sqlx::query("select 1").execute(pool);
    matches!(tokio::time::timeout(POSTGRES_TIMEOUT, query).await, Ok(Ok(_)))
}

/// Describes the metrics of this module.
pub fn describe() {
    metrics::describe_gauge!(
        HEARTBEAT_AGE,
        metrics::Unit::Seconds,
        "Time since the last heartbeat of a long-lived task, without its pauses, by part"
    );
}

/// The heartbeats of the long-lived tasks of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<RegisteredTask>>>);

#[derive(Debug)]
struct RegisteredTask {
    name: &'static str,
    /// The maximum duration of one iteration of the task.
    limit: Duration,
    heartbeat: Heartbeat,
}

/// The heartbeat of one task, recorded in every iteration of its loop.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Heartbeats {
    /// Registers a task, whose heartbeat counts from now on.
    pub fn register(&self, name: &'static str, limit: Duration) -> Heartbeat {
        let heartbeat = Heartbeat::default();
        self.lock().push(RegisteredTask { name, limit, heartbeat: heartbeat.clone() });
        heartbeat
    }

    /// Returns the tasks that have been stalled for longer than their limits, and for how long.
    pub fn find_stalled(&self) -> Vec<(&'static str, Duration)> {
        let tasks = self.lock();
        let ages = tasks.iter().map(|task| (task.name, task.limit, task.heartbeat.age()));
        ages.filter(|(_, limit, age)| age > limit).map(|(name, _, age)| (name, age)).collect()
    }

    /// Returns the time since the last heartbeat of every task, without its pauses.
    pub fn ages(&self) -> Vec<(&'static str, Duration)> {
        self.lock().iter().map(|task| (task.name, task.heartbeat.age())).collect()
    }

    /// Records the age of the last heartbeat of every task as a metric.
    pub fn record_ages(&self) {
        for (task, age) in self.ages() {
            metrics::gauge!(HEARTBEAT_AGE, "part" => task).set(age.as_secs_f64());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RegisteredTask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Heartbeat {
    /// The heartbeat of a task that is not registered.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heartbeat {
    /// Records that the task is making progress.
    pub fn record(&self) {
        self.record_before_pause(Duration::ZERO);
    }

    /// Records a heartbeat before a pause, which does not count as a stall.
    pub fn record_before_pause(&self, pause: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + pause;
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_task_is_found_until_its_next_heartbeat() {
        let heartbeats = Heartbeats::default();
        let (limit, pause) = (Duration::ZERO, Duration::from_secs(3600));
        let (relay, pausing) = (heartbeats.register("relay", limit), heartbeats.register("ticker", limit));
        heartbeats.register("projector", pause);
        pausing.record_before_pause(pause);
        std::thread::sleep(Duration::from_millis(1));
        let stalled = heartbeats.find_stalled();
        assert_eq!(stalled.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["relay"]);
        relay.record_before_pause(pause);
        assert_eq!(heartbeats.find_stalled(), []);
        assert_eq!(heartbeats.ages().len(), 3);
    }
}
