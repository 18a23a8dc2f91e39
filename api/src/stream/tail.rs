//! The tail: reads new records of the topics into the `buffer`, from which `sse` writes every stream of this
//! process, while there are any streams. A change is streamed once the read model contains it, so that a
//! client which reads on an event sees at least that change.
//!
//! The tail stores no offsets; each client keeps its own position. It starts before the end of the log, so
//! that clients of another replica, or of this one before its restart, can resume.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contract::events::Topic;
use futures::FutureExt;
use platform::health::Heartbeat;
use platform::offsets;
use platform::periodic::Periodic;
use rdkafka::Message;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::cursor::{Positions, TopicPartition};
use super::filter::Change;
use super::hub::StreamHub;
use super::log_reader::{LogReader, LogReaderError, is_fatal};
use crate::store;

/// The maximum number of records that await the read model; reading pauses then.
const MAX_PENDING: usize = 10_000;
const MAX_PENDING_BYTES: usize = 32 << 20;
const BATCH: usize = 500;
/// The interval between two queries of the read model's offsets: the first after an arrival, doubled up to
/// the last.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time without a record before the tail counts as caught up: compaction may have removed the
/// last record before the end of the catch-up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
const RESTART_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time for which the tail keeps reading without any stream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const PARTITION_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The interval of heartbeats while no stream is open.
const IDLE_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The reason for a restart of the tail.
#[derive(Debug, thiserror::Error)]
enum TailError {
    #[error(transparent)]
    Log(#[from] LogReaderError),
    #[error("PostgreSQL query failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the partitions of the topics changed")]
    Repartitioned,
    #[error("a Kafka request was aborted")]
    Aborted(#[from] JoinError),
}

impl From<KafkaError> for TailError {
    fn from(error: KafkaError) -> Self {
        Self::Log(error.into())
    }
}

/// A record that awaits the read model.
struct PendingRecord {
    partition: TopicPartition,
    offset: i64,
    bytes: usize,
    change: Option<Change>,
}

struct Tail {
    hub: Arc<StreamHub>,
    heartbeat: Heartbeat,
    log: Arc<LogReader>,
    partitions: BTreeSet<TopicPartition>,
    pending: VecDeque<PendingRecord>,
    pending_bytes: usize,
    /// The positions at which the tail has caught up with the read model; none once it has.
    catch_up_end: Option<Positions>,
    last_arrival: Instant,
    /// The time of the next query of the read model's offsets, and the interval after it.
    next_poll: Instant,
    poll_interval: Duration,
    /// The last time at which a stream was open.
    last_open: Instant,
    next_partition_check: Instant,
}

/// Runs the tail while there are streams, until the process stops.
pub async fn run(hub: Arc<StreamHub>, heartbeat: Heartbeat) {
    let restarts = Periodic::new(RESTART_INTERVAL, hub.stopping.clone());
    let mut restarts = restarts.with_heartbeat(heartbeat.clone());
    while restarts.next().await {
        if !wait_for_stream(&hub, &heartbeat).await {
            return;
        }
        let ended = match Tail::start(hub.clone(), heartbeat.clone()).await {
            Ok(mut tail) => {
                let ended = tail.run().await;
                // Closing a consumer blocks its thread.
                let _ = spawn_blocking(move || drop(tail)).await;
                ended
            }
            Err(error) => Err(error),
        };
        hub.updates.send_replace(false);
        match ended {
            Ok(()) => restarts.skip_pause(),
            Err(error) => tracing::warn!(%error, "event stream tail restarts"),
        }
    }
}

/// Waits until a stream is open; false once the process stops.
async fn wait_for_stream(hub: &StreamHub, heartbeat: &Heartbeat) -> bool {
    let mut open = hub.open.subscribe();
    loop {
        heartbeat.record();
        tokio::select! {
            _ = open.wait_for(|open| !open.is_empty()) => return true,
            () = hub.stopping.cancelled() => return false,
            () = sleep(IDLE_HEARTBEAT_INTERVAL) => {}
        }
    }
}

impl Tail {
    async fn start(hub: Arc<StreamHub>, heartbeat: Heartbeat) -> Result<Self, TailError> {
        let log = LogReader::open(&hub.kafka)?;
        let fetched = spawn_blocking(move || Ok::<_, LogReaderError>((log.watermarks()?, log)));
        let (watermarks, log) = fetched.await??;
        let catch_up_end = watermarks.projected(&projected_offsets(&hub, &log).await?);
        let start = watermarks.before(&catch_up_end, hub.past_records());
        log.assign(&start)?;
        let partitions = start.iter().map(|(partition, _)| partition).collect();
        hub.buffer_mut().restart(start);
        let now = Instant::now();
        Ok(Self {
            hub,
            heartbeat,
            log: Arc::new(log),
            partitions,
            pending: VecDeque::new(),
            pending_bytes: 0,
            catch_up_end: Some(catch_up_end),
            last_arrival: now,
            next_poll: now,
            poll_interval: MIN_POLL_INTERVAL,
            last_open: now,
            next_partition_check: now + PARTITION_CHECK_INTERVAL,
        })
    }

    /// Reads until the process stops, or no stream has been open for [`IDLE_TIMEOUT`].
    async fn run(&mut self) -> Result<(), TailError> {
        let log = self.log.clone();
        let stopping = self.hub.stopping.clone();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.finish_catch_up();
            tokio::select! {
                message = log.next(), if self.has_capacity() => {
                    self.receive(message)?;
                    for _ in 1..BATCH {
                        let Some(message) = log.next().now_or_never() else { break };
                        self.receive(message)?;
                    }
                }
                () = sleep_until(self.next_poll), if !self.pending.is_empty() => self.flush_ready().await,
                _ = ticks.tick() => {
                    self.heartbeat.record();
                    if self.is_idle() {
                        return Ok(());
                    }
                    self.check_partitions().await?;
                }
                () = stopping.cancelled() => return Ok(()),
            }
        }
    }

    fn has_capacity(&self) -> bool {
        self.pending.len() < MAX_PENDING && self.pending_bytes < MAX_PENDING_BYTES
    }

    fn is_idle(&mut self) -> bool {
        if !self.hub.open.borrow().is_empty() {
            self.last_open = Instant::now();
        }
        self.last_open.elapsed() > IDLE_TIMEOUT
    }

    /// Lets the streams read once the buffer has caught up with the read model.
    fn finish_catch_up(&mut self) {
        let Some(catch_up_end) = &self.catch_up_end else { return };
        let is_late = self.last_arrival.elapsed() > CATCH_UP_TIMEOUT;
        if is_late || self.hub.buffer().end_positions().covers(catch_up_end) {
            self.catch_up_end = None;
            self.hub.updates.send_replace(true);
        }
    }

    /// Adds a record to the pending ones.
    fn receive(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), TailError> {
        let message = match message {
            Ok(message) => message,
            Err(error) if is_fatal(&error) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "Kafka consumer error");
                return Ok(());
            }
        };
        let Some(topic) = self.log.topic(message.topic()) else { return Ok(()) };
        let payload = message.payload().unwrap_or_default();
        self.last_arrival = Instant::now();
        if self.pending.is_empty() {
            self.poll_interval = MIN_POLL_INTERVAL;
            self.next_poll = self.last_arrival + MIN_POLL_INTERVAL;
        }
        self.pending_bytes += payload.len();
        self.pending.push_back(PendingRecord {
            partition: (topic, message.partition()),
            offset: message.offset(),
            bytes: payload.len(),
            change: Change::parse(topic, payload),
        });
        Ok(())
    }

    /// Moves a batch of projected records to the buffer. While PostgreSQL is unavailable, all records stay
    /// pending.
    async fn flush_ready(&mut self) {
        match self.flush_batch().await {
            Ok(0) => {}
            Ok(_) => {
                self.poll_interval = Duration::ZERO;
                self.hub.updates.send_modify(|_| {});
            }
            Err(error) => tracing::debug!(%error, "projected offsets unavailable"),
        }
        self.next_poll = Instant::now() + self.poll_interval;
        self.poll_interval = (self.poll_interval * 2).clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL);
    }

    async fn flush_batch(&mut self) -> sqlx::Result<usize> {
        let projected = projected_offsets(&self.hub, &self.log).await?;
        let (ready, pending) = split_ready(std::mem::take(&mut self.pending), &projected);
        let changes = ready.iter().filter_map(|record| record.change.as_ref());
        let changes = changes.map(|change| (change.connector, change.pipeline));
        let owners = match store::stream::list_owners(&self.hub.db, changes).await {
            Ok(owners) => owners,
            Err(error) => {
                self.pending = ready.into_iter().chain(pending).collect();
                return Err(error);
            }
        };
        self.pending = pending;
        let flushed = ready.len();
        let mut owners = owners.into_iter();
        let mut buffer = self.hub.buffer_mut();
        for record in ready {
            self.pending_bytes -= record.bytes;
            let owned = record.change.and_then(|change| Some((change, owners.next()??)));
            buffer.push((record.partition, record.offset), owned, &self.hub.keyring);
        }
        Ok(flushed)
    }

    /// Fails when a topic has got new partitions, which this tail does not read.
    async fn check_partitions(&mut self) -> Result<(), TailError> {
        if Instant::now() < self.next_partition_check {
            return Ok(());
        }
        let log = self.log.clone();
        match spawn_blocking(move || log.partitions()).await? {
            Ok(partitions) if partitions != self.partitions => return Err(TailError::Repartitioned),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "partition check failed"),
        }
        self.next_partition_check = Instant::now() + PARTITION_CHECK_INTERVAL;
        Ok(())
    }
}

/// Splits off the records that the read model contains: at most a batch, and no record of a partition before
/// its earlier ones.
fn split_ready(
    records: VecDeque<PendingRecord>,
    projected: &Positions,
) -> (Vec<PendingRecord>, VecDeque<PendingRecord>) {
    let (mut ready, mut pending, mut blocked) = (Vec::new(), VecDeque::new(), BTreeSet::new());
    for record in records {
        // The rows of the other topics are written by the transaction that enqueues the record.
        let is_projected =
            !Topic::STATE.contains(&record.partition.0) || record.offset < projected.at(record.partition);
        if ready.len() < BATCH && is_projected && !blocked.contains(&record.partition) {
            ready.push(record);
        } else {
            blocked.insert(record.partition);
            pending.push_back(record);
        }
    }
    (ready, pending)
}

async fn projected_offsets(hub: &StreamHub, log: &LogReader) -> sqlx::Result<Positions> {
    let offsets = offsets::find_projected_of(&hub.db, &log.names()).await?;
    let position =
        |((name, partition), next): ((String, i32), i64)| Some(((log.topic(&name)?, partition), next));
    Ok(offsets.into_iter().filter_map(position).collect())
}
