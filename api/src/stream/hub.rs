//! What all streams of the process share: the buffer, the count of open streams, and the connections of the
//! tail.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use clap::Args;
use contract::ids::KeyId;
use platform::kafka::KafkaConfig;
use platform::secrets::Keyring;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::buffer::ChangeBuffer;

/// The maximum size of the buffer, in bytes.
const MAX_BUFFER_BYTES: usize = 48 << 20;

/// The limits, the history and the heartbeat of event streams.
#[derive(Args, Clone, Debug)]
pub struct StreamConfig {
    /// Maximum number of open event streams in this process
    #[arg(long, env = "ORCHESTRATION_STREAMS", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub streams: u32,

    /// Maximum number of open event streams per key in this process
    #[arg(long, env = "ORCHESTRATION_STREAMS_PER_KEY", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub streams_per_key: u32,

    /// Number of latest changes kept in memory for reconnecting and slow clients, at most 48 MiB
    #[arg(long, env = "ORCHESTRATION_STREAM_HISTORY", default_value_t = 16_384)]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub stream_history: u32,

    /// Interval of heartbeats on an idle event stream, in seconds
    #[arg(long, env = "ORCHESTRATION_STREAM_HEARTBEAT", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=300))]
    pub stream_heartbeat: u16,
}

/// What the streams of this process and their tail share.
pub struct StreamHub {
    pub(super) kafka: KafkaConfig,
    pub(super) db: PgPool,
    pub(super) keyring: Keyring,
    pub(super) stopping: CancellationToken,
    config: StreamConfig,
    buffer: RwLock<ChangeBuffer>,
    /// Whether the buffer can be read; sent again with every new change.
    pub(super) updates: watch::Sender<bool>,
    pub(super) open: Arc<watch::Sender<OpenStreams>>,
}

/// The number of open streams of each key that has any.
type OpenStreams = HashMap<KeyId, u32>;

/// The permit of an open stream, returned when it is dropped.
pub struct StreamPermit {
    open: Arc<watch::Sender<OpenStreams>>,
    key: KeyId,
}

/// The limit that forbids one more stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamLimit {
    /// The key has this many streams open.
    Key(u32),
    Process,
}

/// Describes the metrics of the streams.
pub fn describe() {
    metrics::describe_gauge!("orchestration_live_streams", "Live streams that are open");
    metrics::describe_counter!(
        "orchestration_live_streams_ended_total",
        "Live streams that ended, by reason"
    );
}

impl StreamHub {
    pub fn new(
        kafka: KafkaConfig,
        config: StreamConfig,
        db: PgPool,
        keyring: Keyring,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            kafka,
            db,
            keyring,
            stopping,
            buffer: RwLock::new(ChangeBuffer::new(config.stream_history as usize, MAX_BUFFER_BYTES)),
            config,
            updates: watch::Sender::new(false),
            open: Arc::new(watch::Sender::new(OpenStreams::new())),
        }
    }

    /// Acquires a permit for one more stream of this key. The tail reads while there is any.
    ///
    /// # Errors
    /// When the limit of the key or of the process is reached.
    pub fn acquire(&self, key: KeyId) -> Result<StreamPermit, StreamLimit> {
        let mut reached = None;
        self.open.send_if_modified(|open| {
            let of_key = open.get(&key).copied().unwrap_or(0);
            reached = match open.values().sum::<u32>() {
                _ if of_key >= self.config.streams_per_key => Some(StreamLimit::Key(of_key)),
                all if all >= self.config.streams => Some(StreamLimit::Process),
                _ => None,
            };
            if reached.is_none() {
                open.insert(key, of_key + 1);
                metrics::gauge!("orchestration_live_streams").increment(1);
            }
            reached.is_none()
        });
        match reached {
            Some(limit) => Err(limit),
            None => Ok(StreamPermit { open: self.open.clone(), key }),
        }
    }

    /// Waits until the buffer can be read; false after the time-out.
    pub async fn wait_until_readable(&self, limit: Duration) -> bool {
        let mut updates = self.updates.subscribe();
        matches!(timeout(limit, updates.wait_for(|is_readable| *is_readable)).await, Ok(Ok(_)))
    }

    /// Returns the number of past records that the tail reads at the start: half of the buffer, so that new
    /// changes do not push them out at once.
    pub(super) fn past_records(&self) -> usize {
        self.config.stream_history as usize / 2
    }

    /// Returns the longest time without any bytes on a stream.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.config.stream_heartbeat.into())
    }

    pub(super) fn buffer(&self) -> RwLockReadGuard<'_, ChangeBuffer> {
        self.buffer.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn buffer_mut(&self) -> RwLockWriteGuard<'_, ChangeBuffer> {
        self.buffer.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPermit {
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
