//! Publishing: every observation is compared with the read model, and only a difference becomes an event.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::events::{Record, SyncReport, UnreadableEntry};
use contract::state::EntityKind;
use platform::kafka::Producer;
use platform::offsets::{Offsets, find_projected_of};
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

/// Publishes the events of a sync and counts them.
pub(super) struct Publisher {
    pool: PgPool,
    producer: Producer,
    published: Mutex<Published>,
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
        let is_change = |event: &&E| match stored.get(&event.subject()) {
            Some(stored) => stored.fingerprint != event.fingerprint(),
            None => !expired.contains(&event.subject()),
        };
        let records: Vec<Record> = newest
            .values()
            .filter(is_change)
            .map(|event| Ok(Record::of(event)?.with_traceparent(trace::current())))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        if records.is_empty() {
            return Ok(());
        }
        let sent = self.producer.send(&records).await?;
        let count = (records.len() - sent.oversized.len()) as u64;
        count_changes(E::TOPIC, count);
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

    /// How many records the read model is behind these offsets.
    pub(super) async fn lag(&self, target: &Offsets) -> Result<i64, SyncError> {
        let topics: HashSet<String> = target.keys().map(|(topic, _)| topic.clone()).collect();
        let projected = find_projected_of(&self.pool, &Vec::from_iter(topics)).await?;
        let lag = |(partition, target): (&_, &i64)| (target - projected.get(partition).unwrap_or(&0)).max(0);
        Ok(target.iter().map(lag).sum())
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
