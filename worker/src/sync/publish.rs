//! Publishing: every observation is compared with the read model, and only a difference becomes an event.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::events::{Record, SyncReport, UnreadableEntry};
use contract::state::EntityKind;
use platform::kafka::Producer;
use platform::offsets::Offsets;
use platform::trace;
use provider::UnreadableRows;
use sqlx::PgPool;
use uuid::Uuid;

use super::SyncError;
use crate::metrics::{count_changes, count_unreadable};
use crate::projection::{self, Projected};
use crate::store::entities;

/// The maximum number of unreadable rows that a sync remembers, to count each once; further ones are counted
/// each time they are read.
const MAX_NOTED_UNREADABLE: usize = 1000;
/// Records of one observation are sent in batches of at most this many bytes, or one by one where a record
/// alone is larger: they are copied more than once on their way.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Publishes the events of a sync and counts them.
pub(super) struct Publisher {
    pool: PgPool,
    producer: Producer,
    published: Mutex<Published>,
}

/// Records that are sent together, and the names of their entities.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    names: Vec<String>,
    bytes: usize,
}

#[derive(Default)]
struct Published {
    report: SyncReport,
    /// The unreadable rows that were counted; a sync may read each several times.
    noted: HashSet<(EntityKind, String, String)>,
    offsets: Offsets,
}

impl Publisher {
    pub(super) fn new(pool: PgPool, producer: Producer) -> Self {
        Self { pool, producer, published: Mutex::default() }
    }

    /// Publishes the observations that differ from the read model and are not past retention, and returns
    /// once Kafka has acknowledged them. Of several observations of an entity the last one is published.
    pub(super) async fn publish<E: Projected>(&self, observed: Vec<E>) -> Result<(), SyncError> {
        let newest: BTreeMap<Uuid, E> = observed.into_iter().map(|event| (event.subject(), event)).collect();
        let ids: Vec<Uuid> = newest.keys().copied().collect();
        let stored = entities::find_versions::<E>(&self.pool, &ids).await?;
        let unstored = newest.values().filter(|event| !stored.contains_key(&event.subject()));
        let expired = projection::find_expired::<E>(&self.pool, unstored).await?;
        let is_change = |event: &E| match stored.get(&event.subject()) {
            Some(stored) => stored.fingerprint != event.fingerprint(),
            None => !expired.contains(&event.subject()),
        };
        let mut batch = Batch::default();
        // An event is dropped once it is encoded.
        for event in newest.into_values().filter(is_change) {
            let record = Record::of(&event).map_err(|error| sqlx::Error::Encode(error.into()))?;
            if batch.bytes + record.payload.len() > MAX_BATCH_BYTES {
                self.send::<E>(std::mem::take(&mut batch)).await?;
            }
            batch.bytes += record.payload.len();
            batch.records.push(record.with_traceparent(trace::current()));
            batch.names.push(event.full_name());
        }
        self.send::<E>(batch).await
    }

    /// Sends a batch. An event that Kafka does not take is reported: its row stays as it was.
    async fn send<E: Projected>(&self, Batch { records, names, .. }: Batch) -> Result<(), SyncError> {
        if records.is_empty() {
            return Ok(());
        }
        let sent = self.producer.send(&records).await?;
        let count = (records.len() - sent.oversized.len()) as u64;
        count_changes(E::TOPIC, count);
        for index in &sent.oversized {
            let reason = "its event is larger than Kafka takes, so that what was last seen of it is kept";
            self.report_unreadable(E::KIND, &names[*index], reason);
        }
        let mut published = self.published();
        published.report.events_published += count;
        for (partition, next) in sent.offsets {
            let offset = published.offsets.entry(partition).or_default();
            *offset = (*offset).max(next);
        }
        Ok(())
    }

    /// Adds to the report.
    pub(super) fn count(&self, add: impl FnOnce(&mut SyncReport)) {
        add(&mut self.published().report);
    }

    pub(super) fn report(&self) -> SyncReport {
        self.published().report.clone()
    }

    /// Adds rows that could not be read to the report and counts them, each once.
    pub(super) fn note_unreadable(&self, rows: UnreadableRows) {
        let mut published = self.published();
        let unnamed = rows.count.saturating_sub(rows.entries.len() as u64);
        let what = rows.entries.first().map_or(EntityKind::Unknown, |entry| entry.what);
        count_unreadable(what, unnamed);
        published.report.add_unreadable(None, unnamed);
        for entry in rows.entries {
            let is_full = published.noted.len() >= MAX_NOTED_UNREADABLE;
            if is_full || published.noted.insert((entry.what, entry.id.clone(), entry.reason.clone())) {
                count_unreadable(entry.what, 1);
                published.report.add_unreadable(Some(entry), 1);
            }
        }
    }

    /// Adds one unreadable entity to the report and counts it.
    pub(super) fn report_unreadable(&self, what: EntityKind, id: &str, reason: &str) {
        let mut rows = UnreadableRows::default();
        rows.push(UnreadableEntry::new(what, id, reason), false);
        self.note_unreadable(rows);
    }

    /// The offsets after the last published record of each partition.
    pub(super) fn offsets(&self) -> Offsets {
        self.published().offsets.clone()
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
