//! The tail: reads what is new on the topics, for all streams of this process at once, while there are any. A change is
//! told once the read model has passed it, so that whoever asks on hearing of it sees at least that.
//!
//! It keeps no offsets: where a client stands is the client's to know. It begins a little before the end of the log, so
//! that clients of another replica, or of this one before it was restarted, can go on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contract::events::Topic;
use futures::FutureExt;
use rdkafka::Message;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::cursor::{Place, Positions};
use super::filter::Change;
use super::log_reader::{Log, LogError, is_final};
use crate::state::App;
use crate::store;

/// The most that may wait for the read model; nothing more is read then.
const MOST_WAITING: usize = 10_000;
const MOST_WAITING_BYTES: usize = 32 << 20;
const BATCH: usize = 500;
/// How soon after an arrival the read model is asked, and how long at most between two askings.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_LAST: Duration = Duration::from_secs(1);
/// How long the rest of the past may let itself be waited for: compaction may have taken its last record.
const PAST_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before reading begins anew.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it goes on reading for nobody.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is asked whether there are new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why reading has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("PostgreSQL does not answer well: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the topics have other partitions now")]
    Repartitioned,
    #[error("a question to Kafka was broken off")]
    BrokenOff(#[from] JoinError),
}

impl From<KafkaError> for Lost {
    fn from(error: KafkaError) -> Self {
        Self::Log(error.into())
    }
}

/// A record that waits for the read model.
struct Waiting {
    place: Place,
    offset: i64,
    bytes: usize,
    change: Option<Change>,
}

struct Tail {
    app: App,
    log: Arc<Log>,
    places: BTreeSet<Place>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Where the past ends, until it is read.
    past: Option<Positions>,
    arrived_at: Instant,
    /// When the read model is asked next, and how long after that again.
    ask_at: Instant,
    pause: Duration,
}

/// Reads while there are streams, until the process stops.
pub async fn run(app: App) {
    let mut open = app.live.open.subscribe();
    while !app.stopping.is_cancelled() {
        tokio::select! {
            _ = open.wait_for(|open| !open.is_empty()) => {}
            () = app.stopping.cancelled() => return,
        }
        let ended = match Tail::begin(app.clone()).await {
            Ok(mut tail) => {
                let ended = tail.follow().await;
                // Closing a consumer blocks its thread.
                let _ = spawn_blocking(move || drop(tail)).await;
                ended
            }
            Err(lost) => Err(lost),
        };
        app.live.news.send_replace(false);
        if let Err(lost) = ended {
            tracing::warn!(reason = %lost, "live events wait; reading begins anew");
            let _ = timeout(AGAIN, app.stopping.cancelled()).await;
        }
    }
}

impl Tail {
    async fn begin(app: App) -> Result<Self, Lost> {
        let log = Log::open(&app.live.kafka)?;
        let asked = spawn_blocking(move || Ok::<_, LogError>((log.extent()?, log)));
        let (extent, log) = asked.await??;
        let past = extent.shown(&projected(&app, &log).await?);
        let start = extent.before(&past, app.live.past_records());
        log.read_from(&start)?;
        let places = start.places().map(|(place, _)| place).collect();
        app.live.ring_mut().begin(start);
        let now = Instant::now();
        Ok(Self {
            app,
            log: Arc::new(log),
            places,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            past: Some(past),
            arrived_at: now,
            ask_at: now,
            pause: ASK_FIRST,
        })
    }

    /// Reads and tells until the process stops, or nobody has listened for a while.
    async fn follow(&mut self) -> Result<(), Lost> {
        let log = self.log.clone();
        let stopping = self.app.stopping.clone();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard_at, mut look_at) = (Instant::now(), Instant::now() + LOOK_EVERY);
        loop {
            self.note_past();
            tokio::select! {
                message = log.next(), if self.has_room() => {
                    self.take(message)?;
                    for _ in 1..BATCH {
                        let Some(message) = log.next().now_or_never() else { break };
                        self.take(message)?;
                    }
                }
                () = sleep_until(self.ask_at), if !self.waiting.is_empty() => self.release().await,
                _ = second.tick() => {
                    if !self.app.live.open.borrow().is_empty() {
                        heard_at = Instant::now();
                    }
                    if heard_at.elapsed() > IDLE {
                        return Ok(());
                    }
                    if look_at <= Instant::now() {
                        self.look().await?;
                        look_at = Instant::now() + LOOK_EVERY;
                    }
                }
                () = stopping.cancelled() => return Ok(()),
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MOST_WAITING && self.waiting_bytes < MOST_WAITING_BYTES
    }

    /// Once the past is read, streams can begin.
    fn note_past(&mut self) {
        let Some(past) = &self.past else { return };
        let is_late = self.arrived_at.elapsed() > PAST_PATIENCE;
        if is_late || self.app.live.ring().head().covers(past) {
            self.past = None;
            self.app.live.news.send_replace(true);
        }
    }

    fn take(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), Lost> {
        let message = match message {
            Ok(message) => message,
            Err(error) if is_final(&error) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "Kafka does not answer well");
                return Ok(());
            }
        };
        let Some(topic) = self.log.topic(message.topic()) else { return Ok(()) };
        let payload = message.payload().unwrap_or_default();
        self.arrived_at = Instant::now();
        if self.waiting.is_empty() {
            self.pause = ASK_FIRST;
            self.ask_at = self.arrived_at + ASK_FIRST;
        }
        self.waiting_bytes += payload.len();
        self.waiting.push_back(Waiting {
            place: (topic, message.partition()),
            offset: message.offset(),
            bytes: payload.len(),
            change: Change::read(topic, payload),
        });
        Ok(())
    }

    /// Tells a batch of what the read model has passed. While PostgreSQL is away everything waits.
    async fn release(&mut self) {
        match self.tell_batch().await {
            Ok(0) => {}
            Ok(_) => {
                self.pause = Duration::ZERO;
                self.app.live.news.send_modify(|_| {});
            }
            Err(error) => tracing::debug!(%error, "whether changes can be told is not known"),
        }
        self.ask_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(ASK_FIRST, ASK_LAST);
    }

    async fn tell_batch(&mut self) -> sqlx::Result<usize> {
        let projected = projected(&self.app, &self.log).await?;
        let (ready, rest) = split(std::mem::take(&mut self.waiting), &projected);
        let asked = ready.iter().filter_map(|record| record.change.as_ref());
        let asked = asked.map(|change| (change.connector, change.pipeline));
        let owners = match store::stream::owners(&self.app.db, asked).await {
            Ok(owners) => owners,
            Err(error) => {
                self.waiting = ready.into_iter().chain(rest).collect();
                return Err(error);
            }
        };
        self.waiting = rest;
        let told = ready.len();
        let mut owners = owners.into_iter();
        let mut ring = self.app.live.ring_mut();
        for record in ready {
            self.waiting_bytes -= record.bytes;
            let owned = record.change.and_then(|change| Some((change, owners.next()??)));
            ring.push((record.place, record.offset), owned, &self.app.keyring);
        }
        Ok(told)
    }

    /// New partitions would otherwise be told of by nobody.
    async fn look(&self) -> Result<(), Lost> {
        let log = self.log.clone();
        match spawn_blocking(move || log.places()).await? {
            Ok(places) if places != self.places => Err(Lost::Repartitioned),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "which partitions there are is not known");
                Ok(())
            }
        }
    }
}

/// The first records of each partition that the read model shows, a batch at most, and all others.
fn split(waiting: VecDeque<Waiting>, projected: &Positions) -> (Vec<Waiting>, VecDeque<Waiting>) {
    let (mut ready, mut rest, mut held) = (Vec::new(), VecDeque::new(), BTreeSet::new());
    for record in waiting {
        // A sync is told of after its row was written, by the same transaction's outbox.
        let is_shown = record.place.0 == Topic::Syncs || record.offset < projected.at(record.place);
        if ready.len() < BATCH && is_shown && !held.contains(&record.place) {
            ready.push(record);
        } else {
            held.insert(record.place);
            rest.push_back(record);
        }
    }
    (ready, rest)
}

async fn projected(app: &App, log: &Log) -> sqlx::Result<Positions> {
    let found = store::stream::projected(&app.db, &log.names()).await?;
    let place = |(name, partition, next): (String, i32, i64)| Some(((log.topic(&name)?, partition), next));
    Ok(found.into_iter().filter_map(place).collect())
}
