//! The projections: events of the state topics become rows. An older observation never overwrites a newer
//! one, whatever the order or number of deliveries. `consumer` reads Kafka and stores the offsets; `store`
//! has the SQL.

mod projected;
mod read_model;

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{TimeDelta, Utc};
use contract::events::{PipelineObserved, RunObserved, TaskRunObserved};
use contract::ids::ConnectorId;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::outbox;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

pub use projected::Projected;
pub(crate) use read_model::await_projected;

use crate::records::{ConsumedRecord, Rejected};
use crate::store::connectors;
use crate::store::entities;

/// How many stored events are in memory at once, whatever the size of the records that they supersede.
const MAX_WINNERS: usize = 8;
/// The shortest retention that can be configured.
const MIN_RETENTION: TimeDelta = TimeDelta::days(1);

/// Returns the ids of the entities that are past retention. None of the entities may have a row: they were
/// removed or never stored, and must not be stored again.
pub async fn find_expired<'a, E: Projected>(
    db: impl PgExecutor<'_>,
    unstored: impl Iterator<Item = &'a E>,
) -> sqlx::Result<HashSet<Uuid>> {
    let oldest_kept = Utc::now() - MIN_RETENTION;
    let candidates: Vec<_> = unstored
        .filter_map(Projected::expiry_candidate)
        .filter(|candidate| candidate.last_activity_at < oldest_kept)
        .collect();
    entities::find_expired::<E>(db, &candidates).await
}

/// Applies a batch within the caller's transaction and returns the records that can never be applied.
pub fn apply<'a>(
    db: &'a mut PgConnection,
    records: &'a [ConsumedRecord],
) -> BoxFuture<'a, sqlx::Result<Vec<Rejected>>> {
    async move {
        let mut rejected = project::<PipelineObserved>(db, records).await?;
        rejected.extend(project::<RunObserved>(db, records).await?);
        rejected.extend(project::<TaskRunObserved>(db, records).await?);
        Ok(rejected)
    }
    .boxed()
}

/// An event and the offset of its record.
type EventAt<E> = (E, i64);

async fn project<E: Projected>(
    db: &mut PgConnection,
    records: &[ConsumedRecord],
) -> sqlx::Result<Vec<Rejected>> {
    let (events, mut rejected) = decode::<E>(records);
    let connector_ids: BTreeSet<ConnectorId> = events.iter().map(|(_, event)| event.connector_id()).collect();
    if connector_ids.is_empty() {
        return Ok(rejected);
    }
    let existing = connectors::find_existing(&mut *db, &Vec::from_iter(connector_ids)).await?;
    let last_version = entities::find_last_version(&mut *db).await?;
    let mut accepted = Vec::new();
    for (index, event) in events {
        match check(&event, &existing, last_version) {
            Ok(()) => accepted.push((event, records[index].offset)),
            Err(error) => rejected.push(Rejected { index, error }),
        }
    }
    if !accepted.is_empty() {
        upsert_newest(db, &accepted).await?;
    }
    Ok(rejected)
}

/// Refuses an event that no worker has published: one version that is too high would hide all later events
/// of its entity.
fn check<E: Projected>(event: &E, existing: &[ConnectorId], last_version: i64) -> Result<(), String> {
    let (connector_id, version) = (event.connector_id(), event.version());
    if !existing.contains(&connector_id) {
        return Err(format!("there is no connector {connector_id}"));
    }
    if !event.has_derived_ids() {
        return Err("the ids do not follow from the connector and the external ids".to_owned());
    }
    if version > last_version {
        return Err(format!("no worker has drawn the version {version}; the last one is {last_version}"));
    }
    Ok(())
}

fn decode<E: Projected>(records: &[ConsumedRecord]) -> (Vec<(usize, E)>, Vec<Rejected>) {
    let mut events = Vec::new();
    let mut rejected = Vec::new();
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.topic == E::TOPIC) {
        // A tombstone adds nothing to the event with `deleted` that precedes it.
        let Some(payload) = &record.payload else { continue };
        match serde_json::from_slice(payload) {
            Ok(event) => events.push((index, event)),
            Err(error) => rejected.push(Rejected { index, error: error.to_string() }),
        }
    }
    (events, rejected)
}

/// Upserts the newest observation of each entity, unless it is stored already or past retention.
///
/// Where an older record follows a newer one in the log, compaction would keep the older one: the newer event
/// is published again.
async fn upsert_newest<E: Projected>(db: &mut PgConnection, events: &[EventAt<E>]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.subject()).collect();
    let stored = entities::find_versions::<E>(&mut *db, &ids).await?;
    // By id: version, log offset, and the event where it is newer than the row.
    let mut newest: HashMap<Uuid, (i64, i64, Option<&E>)> =
        stored.values().map(|stored| (stored.id, (stored.version, stored.log_offset, None))).collect();
    let mut superseded: HashMap<Uuid, &E> = HashMap::new();
    for (event, offset) in events {
        match newest.get(&event.subject()) {
            Some((version, newest_offset, _)) if event.version() < *version => {
                if offset > newest_offset {
                    superseded.insert(event.subject(), event);
                }
            }
            Some((version, ..)) if event.version() == *version => {}
            _ => {
                newest.insert(event.subject(), (event.version(), *offset, Some(event)));
            }
        }
    }
    let mut changed: Vec<(&E, i64)> =
        newest.into_values().filter_map(|(_, offset, event)| Some((event?, offset))).collect();
    let unstored =
        changed.iter().map(|(event, _)| *event).filter(|event| !stored.contains_key(&event.subject()));
    let expired = find_expired(&mut *db, unstored).await?;
    changed.retain(|(event, _)| !expired.contains(&event.subject()));
    entities::upsert(&mut *db, &changed).await?;
    republish_winners(db, &superseded).await
}

/// Puts the stored event of each superseded one into the outbox.
async fn republish_winners<E: Projected>(
    db: &mut PgConnection,
    superseded: &HashMap<Uuid, &E>,
) -> sqlx::Result<()> {
    let ids = Vec::from_iter(superseded.keys().copied());
    for ids in ids.chunks(MAX_WINNERS) {
        for winner in entities::find::<E>(&mut *db, ids).await? {
            let older = superseded[&winner.subject()];
            outbox::enqueue(db, &winner.with_external_ids_from(older)).await?;
        }
    }
    Ok(())
}
