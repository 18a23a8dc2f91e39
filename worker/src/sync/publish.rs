//! Publishes what is new: every observation is compared with the read model, and only a difference becomes an event.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::events::{Record, SyncReport, Topic};
use metrics::Counter;
use platform::kafka::Producer;
use platform::offsets::Offsets;
use platform::trace;
use sqlx::PgPool;
use uuid::Uuid;

use super::SyncError;
use crate::project::{Projection, known, too_old};

/// The changes that were found, by what changed.
fn changes(topic: Topic) -> Counter {
    let kind = match topic {
        Topic::Pipelines => "pipeline",
        Topic::Runs => "run",
        Topic::TaskRuns => "task_run",
        Topic::Syncs | Topic::SyncRequests => "sync",
    };
    metrics::counter!("orchestration_changes_total", "kind" => kind)
}

/// Sends events and keeps the sync's tally.
pub struct Publisher {
    pool: PgPool,
    producer: Producer,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    report: SyncReport,
    positions: Offsets,
}

impl Publisher {
    pub fn new(pool: PgPool, producer: Producer) -> Self {
        Self { pool, producer, sent: Mutex::default() }
    }

    /// Publishes those of the observations that say something new and are not too old to be kept, and returns once Kafka
    /// has them. Of one entity the last counts.
    pub async fn publish<E: Projection>(&self, observed: Vec<E>) -> Result<(), SyncError> {
        let newest: BTreeMap<Uuid, E> = observed.into_iter().map(|event| (event.subject(), event)).collect();
        let ids: Vec<Uuid> = newest.keys().copied().collect();
        let known = known::<E>(&self.pool, &ids).await?;
        let unknown = newest.values().filter(|event| !known.contains_key(&event.subject()));
        let too_old = too_old::<E>(&self.pool, unknown).await?;
        let is_news = |event: &&E| match known.get(&event.subject()) {
            Some(known) => known.fingerprint != event.fingerprint(),
            None => !too_old.contains(&event.subject()),
        };
        let records: Vec<Record> = newest
            .values()
            .filter(is_news)
            .map(|event| Ok(Record::of(event)?.with_traceparent(trace::current())))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        if records.is_empty() {
            return Ok(());
        }
        let published = self.producer.send(&records).await?;
        let count = (records.len() - published.oversized.len()) as u64;
        changes(E::TOPIC).increment(count);
        let mut sent = self.sent();
        sent.report.events_published += count;
        for (partition, next) in published.offsets {
            let position = sent.positions.entry(partition).or_default();
            *position = (*position).max(next);
        }
        Ok(())
    }

    /// Adds to the report.
    pub fn count(&self, add: impl FnOnce(&mut SyncReport)) {
        add(&mut self.sent().report);
    }

    /// The report so far.
    pub fn report(&self) -> SyncReport {
        self.sent().report
    }

    /// How far the log has come with what was sent.
    pub fn positions(&self) -> Offsets {
        self.sent().positions.clone()
    }

    /// How many records the read model still has to take before it has come so far.
    pub async fn behind(&self, wanted: &Offsets) -> Result<i64, SyncError> {
        let topics: HashSet<String> = wanted.keys().map(|(topic, _)| topic.clone()).collect();
        let reached: Vec<(String, i32, i64)> = sqlx::query_as(
            "select topic, partition, next_offset from projection_offsets where topic = any($1)",
        )
        .bind(Vec::from_iter(topics))
        .fetch_all(&self.pool)
        .await?;
        let reached: Offsets =
            reached.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect();
        let behind = |(place, wanted): (&_, &i64)| (wanted - reached.get(place).unwrap_or(&0)).max(0);
        Ok(wanted.iter().map(behind).sum())
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
