//! Changes as they happen: one tail per process reads them from Kafka, and every open stream is told those of its
//! space. Whether somebody may listen is `access`'s to say, and how it is asked the route's.

mod buffer;
mod cursor;
mod filter;
mod log_reader;
mod sse;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use clap::Args;
use contract::events::Topic;
use contract::ids::KeyId;
use platform::kafka::KafkaConfig;
use tokio::sync::watch;
use tokio::time::timeout;

use self::buffer::Ring;
pub use self::cursor::{Place, Positions};
pub use self::filter::{EventFilter, Kind, Owner, STATUSES};
pub use self::sse::stream;
pub use self::tail::run;

/// The topics that are told of.
const TOLD: [Topic; 4] = [Topic::Pipelines, Topic::Runs, Topic::TaskRuns, Topic::Syncs];
/// The most bytes of changes kept for those who come back.
const MOST_BYTES: usize = 48 << 20;

/// How many may listen, and how often they are told that nothing happened.
#[derive(Args, Clone, Debug)]
pub struct LiveConfig {
    /// Event streams that may be open in this process
    #[arg(long, env = "ORCHESTRATION_STREAMS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub streams: u32,

    /// Event streams that one key may have open in this process
    #[arg(long, env = "ORCHESTRATION_STREAMS_PER_KEY", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub streams_per_key: u32,

    /// Latest changes kept in memory for clients that come back, and for slow ones, up to 48 MiB of them
    #[arg(long, env = "ORCHESTRATION_STREAM_HISTORY", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub stream_history: u32,

    /// Seconds after which a silent event stream says that it lives
    #[arg(long, env = "ORCHESTRATION_STREAM_HEARTBEAT", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=300))]
    pub stream_heartbeat: u16,
}

/// What streams share.
pub struct Live {
    kafka: KafkaConfig,
    config: LiveConfig,
    ring: RwLock<Ring>,
    /// Whether the ring can be read from; told anew with everything that is put there.
    news: watch::Sender<bool>,
    open: Arc<watch::Sender<Open>>,
}

/// How many streams each key has open.
type Open = HashMap<KeyId, u32>;

/// An open stream's place among the others; free again when it is dropped.
pub struct Seat {
    open: Arc<watch::Sender<Open>>,
    key: KeyId,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The key has so many streams open.
    Key(u32),
    Process,
}

/// Says what is measured of the streams.
pub fn describe() {
    metrics::describe_gauge!("orchestration_live_streams", "Live streams that are open");
    metrics::describe_counter!(
        "orchestration_live_streams_ended_total",
        "Live streams that ended, by reason"
    );
}

impl Live {
    pub fn new(kafka: KafkaConfig, config: LiveConfig) -> Self {
        Self {
            kafka,
            ring: RwLock::new(Ring::new(config.stream_history as usize, MOST_BYTES)),
            config,
            news: watch::Sender::new(false),
            open: Arc::new(watch::Sender::new(Open::new())),
        }
    }

    /// A seat for one more stream of this key. While anybody has one, the tail reads.
    ///
    /// # Errors
    /// When there are too many.
    pub fn take_seat(&self, key: KeyId) -> Result<Seat, Full> {
        let mut full = None;
        self.open.send_if_modified(|open| {
            let of_key = open.get(&key).copied().unwrap_or(0);
            full = match open.values().sum::<u32>() {
                _ if of_key >= self.config.streams_per_key => Some(Full::Key(of_key)),
                all if all >= self.config.streams => Some(Full::Process),
                _ => None,
            };
            if full.is_none() {
                open.insert(key, of_key + 1);
                metrics::gauge!("orchestration_live_streams").increment(1);
            }
            full.is_none()
        });
        match full {
            Some(full) => Err(full),
            None => Ok(Seat { open: self.open.clone(), key }),
        }
    }

    /// Waits until there is something to read from.
    pub async fn is_reading(&self, patience: Duration) -> bool {
        let mut news = self.news.subscribe();
        matches!(timeout(patience, news.wait_for(|reading| *reading)).await, Ok(Ok(_)))
    }

    /// How much of the past is read at the start: not all that there is room for, so that it does not leave at once.
    fn past_records(&self) -> usize {
        self.config.stream_history as usize / 2
    }

    /// How long a stream is silent at most.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.config.stream_heartbeat.into())
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.send_modify(|open| {
            if let Some(of_key) = open.get_mut(&self.key) {
                *of_key -= 1;
            }
            open.retain(|_, of_key| *of_key > 0);
        });
        metrics::gauge!("orchestration_live_streams").decrement(1);
    }
}
