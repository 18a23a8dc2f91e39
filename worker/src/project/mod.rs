//! The projections: what the state topics say becomes rows. An older observation never overwrites a newer one,
//! whatever the order or number of deliveries. Reading Kafka and moving its offsets is for `consume`.

mod pipelines;
mod runs;
mod task_runs;

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{Observed, PipelineObserved, RunObserved, TaskRunObserved, Topic};
use contract::ids::ConnectorId;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::outbox;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::consume::{Dead, Message};

/// How an event's kind is kept. Columns have the names of the event's fields, so both directions are one JSON value.
pub trait Projection: Observed + Send + Sync + Unpin + 'static {
    /// `$1` ids → id, version, fingerprint, log_offset.
    const KNOWN: &'static str;
    /// `$1` a JSON array of events, each with its fingerprint and offset.
    const UPSERT: &'static str;
    /// `$1` ids → events, as their rows tell them.
    const FIND: &'static str;
    /// Of entities without a row, `$1` ids, `$2` what they belong to, `$3` when they were due if that matters, `$4` when
    /// anything last happened to them → the ids of those that are older than such are kept.
    const TOO_OLD: &'static str;

    /// How old it is, if it can grow too old.
    fn age(&self) -> Option<Age>;

    /// The same, with the names of what it belongs to from another event of it: the rows that tell them may not be here yet.
    fn named_as(self, other: &Self) -> Self;
}

/// How old an entity is by its own times.
pub struct Age {
    /// The pipeline or run that it belongs to.
    of: Uuid,
    due_at: Option<DateTime<Utc>>,
    settled_at: DateTime<Utc>,
}

/// Nothing is kept for a shorter time.
const KEPT_AT_LEAST: TimeDelta = TimeDelta::days(1);

/// Which of these, none of which has a row, are older than such are kept: removed once, or never taken in, and not to
/// come back.
pub async fn too_old<'a, E: Projection>(
    db: impl PgExecutor<'_>,
    unknown: impl Iterator<Item = &'a E>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let fresh = Utc::now() - KEPT_AT_LEAST;
    let mut old = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for event in unknown {
        if let Some(Age { of, due_at, settled_at }) = event.age().filter(|age| age.settled_at < fresh) {
            old.extend([(event.subject(), of, due_at, settled_at)]);
        }
    }
    if old.0.is_empty() {
        return Ok(HashSet::new());
    }
    let (ids, of, due_at, settled_at) = old;
    let too_old: Vec<Uuid> =
        sqlx::query_scalar(E::TOO_OLD).bind(ids).bind(of).bind(due_at).bind(settled_at).fetch_all(db).await?;
    Ok(too_old.into_iter().collect())
}

/// What is known of an entity.
#[derive(sqlx::FromRow)]
pub struct Known {
    pub id: Uuid,
    pub version: i64,
    pub fingerprint: Vec<u8>,
    pub log_offset: i64,
}

/// Looks entities up.
pub async fn known<E: Projection>(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Known>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Known> = sqlx::query_as(E::KNOWN).bind(ids).fetch_all(db).await?;
    Ok(rows.into_iter().map(|known| (known.id, known)).collect())
}

/// Entities as events, the way they were last projected.
pub async fn find<E: Projection>(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<E>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<Json<E>> = sqlx::query_scalar(E::FIND).bind(ids).fetch_all(db).await?;
    Ok(events.into_iter().map(|event| event.0).collect())
}

/// Applies a batch within the caller's transaction; tells which records can never be applied.
pub fn apply<'a>(
    db: &'a mut PgConnection,
    messages: &'a [Message],
) -> BoxFuture<'a, Result<Vec<Dead>, sqlx::Error>> {
    async move {
        let mut dead = project::<PipelineObserved>(db, messages).await?;
        dead.extend(project::<RunObserved>(db, messages).await?);
        dead.extend(project::<TaskRunObserved>(db, messages).await?);
        Ok(dead)
    }
    .boxed()
}

#[derive(Serialize)]
struct Row<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    fingerprint: String,
    log_offset: i64,
}

async fn project<E: Projection>(
    db: &mut PgConnection,
    messages: &[Message],
) -> Result<Vec<Dead>, sqlx::Error> {
    let (events, mut dead) = decode::<E>(E::TOPIC, messages);
    let connectors: BTreeSet<ConnectorId> = events.iter().map(|(_, event)| event.connector_id()).collect();
    let connectors: Vec<ConnectorId> = sqlx::query_scalar("select id from connectors where id = any($1)")
        .bind(Vec::from_iter(connectors))
        .fetch_all(&mut *db)
        .await?;
    let (events, orphans): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|(_, event)| connectors.contains(&event.connector_id()));
    dead.extend(orphans.into_iter().map(|(message, event)| Dead {
        message,
        error: format!("there is no connector {}", event.connector_id()),
    }));
    if !events.is_empty() {
        keep(db, messages, &events).await?;
    }
    Ok(dead)
}

fn decode<E: Projection>(topic: Topic, messages: &[Message]) -> (Vec<(usize, E)>, Vec<Dead>) {
    let mut events = Vec::new();
    let mut dead = Vec::new();
    for (index, message) in messages.iter().enumerate().filter(|(_, message)| message.topic == topic) {
        // A tombstone says nothing that an event with `deleted` had not said.
        let Some(payload) = &message.payload else { continue };
        match serde_json::from_slice(payload) {
            Ok(event) => events.push((index, event)),
            Err(error) => dead.push(Dead { message: index, error: error.to_string() }),
        }
    }
    (events, dead)
}

/// Upserts the newest observation of each entity, if it is new and not too old. Where an older record stands behind a
/// newer one in the log, compaction would keep the older: the newer is sent once more.
async fn keep<E: Projection>(
    db: &mut PgConnection,
    messages: &[Message],
    events: &[(usize, E)],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = events.iter().map(|(_, event)| event.subject()).collect();
    let known = known::<E>(&mut *db, &ids).await?;
    let here: HashSet<Uuid> = known.keys().copied().collect();
    let mut newest: HashMap<Uuid, (i64, i64, Option<&E>)> =
        known.into_values().map(|known| (known.id, (known.version, known.log_offset, None))).collect();
    let mut superseded: HashMap<Uuid, &E> = HashMap::new();
    for (index, event) in events {
        let offset = messages[*index].offset;
        match newest.get(&event.subject()) {
            Some((version, at, _)) if event.version() < *version => {
                if offset > *at {
                    superseded.insert(event.subject(), event);
                }
            }
            Some((version, _, _)) if event.version() == *version => {}
            _ => {
                newest.insert(event.subject(), (event.version(), offset, Some(event)));
            }
        }
    }
    let unknown = newest.iter().filter(|(id, _)| !here.contains(id)).filter_map(|(_, (.., event))| *event);
    let too_old = too_old::<E>(&mut *db, unknown).await?;
    newest.retain(|id, _| !too_old.contains(id));
    upsert(db, newest.into_values()).await?;
    for winner in find::<E>(&mut *db, &Vec::from_iter(superseded.keys().copied())).await? {
        let older = superseded[&winner.subject()];
        outbox::enqueue(db, &winner.named_as(older)).await?;
    }
    Ok(())
}

async fn upsert<'a, E: Projection>(
    db: &mut PgConnection,
    newest: impl Iterator<Item = (i64, i64, Option<&'a E>)>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = newest
        .filter_map(|(_, log_offset, event)| {
            let event = event?;
            let fingerprint = event.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
            Some(Row { event, fingerprint, log_offset })
        })
        .collect();
    if !rows.is_empty() {
        let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query(E::UPSERT).bind(rows).execute(db).await?;
    }
    Ok(())
}
