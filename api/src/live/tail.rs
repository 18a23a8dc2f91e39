//! The tail: reads what is new on the topics, for all streams of this process at once, while there are any. A change is
//! told once the read model has passed it, so that whoever asks on hearing of it sees at least that.
//!
//! It has no consumer group and keeps no offsets: where a client stands is the client's to know. It begins a little
//! before the end of the log, so that clients of another replica, or of this one before it was restarted, can go on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use shared::events::Topic;
use shared::kafka::KafkaConfig;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::change::Change;
use super::positions::{Place, Positions};
use super::{MOST_RECORDS, TOLD};
use crate::state::App;
use crate::store;

/// Records of the past that are read at the start, of all partitions together.
const PAST_RECORDS: usize = MOST_RECORDS / 2;
/// The most that may wait for the read model; nothing more is read then.
const MOST_WAITING: usize = 10_000;
const MOST_WAITING_BYTES: usize = 32 << 20;
const BATCH: usize = 500;
/// How soon after an arrival the read model is asked, and how long at most between two askings.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_LAST: Duration = Duration::from_secs(1);
/// How long the past may let itself be waited for: compaction may have taken its last record.
const PAST_PATIENCE: Duration = Duration::from_secs(2);
const KAFKA_PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);
/// How long it goes on reading for nobody.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is asked whether there are new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why reading has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("topic {0} is not there yet")]
    NoTopic(String),
    #[error("the topics have other partitions now")]
    Repartitioned,
    #[error("a question to Kafka was broken off")]
    BrokenOff(#[from] JoinError),
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
    consumer: Arc<StreamConsumer>,
    names: Vec<(String, Topic)>,
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
        let kafka = &app.live.kafka;
        let names: Vec<_> = TOLD.iter().map(|topic| (kafka.topic(*topic), *topic)).collect();
        let consumer = Arc::new(consumer(kafka)?);
        let log = {
            let (consumer, names) = (consumer.clone(), names.clone());
            spawn_blocking(move || Log::ask(&consumer, &names)).await??
        };
        let past = log.known(&projected(&app, &names).await?);
        let start = log.shortly_before(&past);
        let mut partitions = TopicPartitionList::new();
        for ((topic, partition), next) in start.places() {
            partitions.add_partition_offset(&kafka.topic(topic), partition, Offset::Offset(next))?;
        }
        consumer.assign(&partitions)?;
        let places = start.places().map(|(place, _)| place).collect();
        app.live.ring_mut().begin(start);
        let now = Instant::now();
        Ok(Self {
            app,
            consumer,
            names,
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
        let consumer = self.consumer.clone();
        let stopping = self.app.stopping.clone();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard_at, mut look_at) = (Instant::now(), Instant::now() + LOOK_EVERY);
        loop {
            self.note_past();
            tokio::select! {
                message = consumer.recv(), if self.has_room() => {
                    self.take(message)?;
                    while self.has_room() && let Some(message) = consumer.recv().now_or_never() {
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
        let is_late = self.waiting.is_empty() && self.arrived_at.elapsed() > PAST_PATIENCE;
        if is_late || self.app.live.ring().head().covers(past) {
            self.past = None;
            self.app.live.news.send_replace(true);
        }
    }

    fn take(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), Lost> {
        let message = match message {
            Ok(message) => message,
            Err(error) if is_final(&error) => return Err(error.into()),
            // The client connects again by itself, and goes on where it was.
            Err(error) => {
                tracing::debug!(%error, "Kafka is not answering well");
                return Ok(());
            }
        };
        let Some((_, topic)) = self.names.iter().find(|(name, _)| name == message.topic()) else {
            return Ok(());
        };
        let payload = message.payload().unwrap_or_default();
        if self.waiting.is_empty() {
            self.pause = ASK_FIRST;
            self.ask_at = Instant::now() + ASK_FIRST;
        }
        self.arrived_at = Instant::now();
        self.waiting_bytes += payload.len();
        self.waiting.push_back(Waiting {
            place: (*topic, message.partition()),
            offset: message.offset(),
            bytes: payload.len(),
            change: Change::read(*topic, payload),
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
        let projected = projected(&self.app, &self.names).await?;
        let mut held = BTreeSet::new();
        let mut ready = Vec::new();
        let mut rest = VecDeque::new();
        for record in std::mem::take(&mut self.waiting) {
            // A sync is told of after its row was written, by the same transaction's outbox.
            let is_readable = record.place.0 == Topic::Syncs || record.offset < projected.at(record.place);
            if ready.len() < BATCH && is_readable && !held.contains(&record.place) {
                ready.push(record);
            } else {
                held.insert(record.place);
                rest.push_back(record);
            }
        }
        let asked = ready.iter().filter_map(|record| record.change.as_ref());
        let asked = asked.map(|change| (change.connector, change.pipeline));
        let owners = match store::live::owners(&self.app.db, asked).await {
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
        let (consumer, names) = (self.consumer.clone(), self.names.clone());
        match spawn_blocking(move || places(&consumer, &names)).await? {
            Ok(places) if places != self.places => Err(Lost::Repartitioned),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "Kafka does not say which partitions there are");
                Ok(())
            }
        }
    }
}

fn consumer(kafka: &KafkaConfig) -> Result<StreamConsumer, KafkaError> {
    kafka
        .client()
        // Nobody joins it: the client wants a name before it reads partitions of its own choice.
        .set("group.id", kafka.group("live"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // To begin elsewhere without a word would be a gap.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", "16384")
        .create()
}

/// Whether going on is no use.
fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition};
    match error {
        KafkaError::MessageConsumptionFatal(_) => true,
        KafkaError::MessageConsumption(code) => {
            [AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopicOrPartition].contains(code)
        }
        _ => false,
    }
}

async fn projected(app: &App, names: &[(String, Topic)]) -> sqlx::Result<Positions> {
    let topics: Vec<_> = names.iter().map(|(name, _)| name.clone()).collect();
    let found = store::live::projected(&app.db, &topics).await?;
    let place = |(name, partition, next): (String, i32, i64)| {
        let topic = names.iter().find(|(of, _)| *of == name)?.1;
        Some(((topic, partition), next))
    };
    Ok(found.into_iter().filter_map(place).collect())
}

/// Where each partition begins and ends.
struct Log {
    low: Positions,
    high: Positions,
}

impl Log {
    /// Asks Kafka; blocks.
    fn ask(consumer: &StreamConsumer, names: &[(String, Topic)]) -> Result<Self, Lost> {
        let places = places(consumer, names)?;
        Ok(Self {
            low: offsets(consumer, names, &places, Offset::Beginning)?,
            high: offsets(consumer, names, &places, Offset::End)?,
        })
    }

    /// How far the read model shows it: everything after that is still to be told.
    fn known(&self, projected: &Positions) -> Positions {
        let known = |(place, high): (Place, i64)| match place.0 {
            Topic::Syncs => (place, high),
            _ => (place, projected.at(place).clamp(self.low.at(place), high)),
        };
        self.high.places().map(known).collect()
    }

    fn shortly_before(&self, positions: &Positions) -> Positions {
        let of_each = (PAST_RECORDS / self.high.places().count().max(1)) as i64;
        let before = |(place, next): (Place, i64)| (place, (next - of_each).max(self.low.at(place)));
        positions.places().map(before).collect()
    }
}

fn places(consumer: &StreamConsumer, names: &[(String, Topic)]) -> Result<BTreeSet<Place>, Lost> {
    let mut places = BTreeSet::new();
    for (name, topic) in names {
        let metadata = consumer.fetch_metadata(Some(name), KAFKA_PATIENCE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let before = places.len();
        places.extend(partitions.map(|partition| (*topic, partition.id())));
        if places.len() == before {
            return Err(Lost::NoTopic(name.clone()));
        }
    }
    Ok(places)
}

/// One question for all partitions: the protocol takes the two ends for moments in time.
fn offsets(
    consumer: &StreamConsumer,
    names: &[(String, Topic)],
    places: &BTreeSet<Place>,
    end: Offset,
) -> Result<Positions, Lost> {
    let mut asked = TopicPartitionList::new();
    for (name, topic) in names {
        for (_, partition) in places.iter().filter(|(of, _)| of == topic) {
            asked.add_partition_offset(name, *partition, end)?;
        }
    }
    let answered = consumer.offsets_for_times(asked, KAFKA_PATIENCE)?;
    let mut offsets = Positions::default();
    for element in answered.elements() {
        element.error()?;
        let topic = names.iter().find(|(name, _)| name == element.topic()).map(|(_, topic)| *topic);
        if let (Some(topic), Offset::Offset(offset)) = (topic, element.offset()) {
            offsets.advance((topic, element.partition()), offset);
        }
    }
    Ok(offsets)
}
