//! Readiness: whether PostgreSQL and Kafka respond. Liveness: whether every long-lived part of a process goes
//! on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::kafka::KafkaProbe;

const POSTGRES_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks both servers, each within two seconds.
///
/// # Errors
/// One sentence that says which of them does not respond.
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

/// The heartbeats of the long-lived parts of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<Part>>>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    /// How long the part may take for one turn of its loop.
    limit: Duration,
    heartbeat: Heartbeat,
}

/// The heartbeat of one part, which beats at every turn of its loop.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Heartbeats {
    /// Watches a part from now on.
    pub fn register(&self, name: &'static str, limit: Duration) -> Heartbeat {
        let heartbeat = Heartbeat::default();
        self.lock().push(Part { name, limit, heartbeat: heartbeat.clone() });
        heartbeat
    }

    /// The parts that have been stalled for longer than their limits, and for how long.
    pub fn find_stalled(&self) -> Vec<(&'static str, Duration)> {
        let parts = self.lock();
        let ages = parts.iter().map(|part| (part.name, part.limit, part.heartbeat.age()));
        ages.filter(|(_, limit, age)| age > limit).map(|(name, _, age)| (name, age)).collect()
    }

    /// Every part, and how long ago it should have beaten last.
    pub fn ages(&self) -> Vec<(&'static str, Duration)> {
        self.lock().iter().map(|part| (part.name, part.heartbeat.age())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Heartbeat {
    /// The heartbeat of a part that is not watched.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heartbeat {
    /// Says that the part goes on.
    pub fn beat(&self) {
        self.beat_before(Duration::ZERO);
    }

    /// The same before a pause, which does not count.
    pub fn beat_before(&self, pause: Duration) {
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
    fn a_stalled_part_is_named_until_it_goes_on() {
        let heartbeats = Heartbeats::default();
        let (limit, pause) = (Duration::ZERO, Duration::from_secs(3600));
        let (relay, pausing) = (heartbeats.register("relay", limit), heartbeats.register("ticker", limit));
        heartbeats.register("projector", pause);
        pausing.beat_before(pause);
        std::thread::sleep(Duration::from_millis(1));
        let named = heartbeats.find_stalled();
        assert_eq!(named.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["relay"]);
        relay.beat_before(pause);
        assert_eq!(heartbeats.find_stalled(), []);
        assert_eq!(heartbeats.ages().len(), 3);
    }
}
