//! Pipelines, runs and task runs as rows. Most columns have the names of the event's fields, so that an event
//! and its row convert into each other as one JSON value. The SQL of each is in the file of its table.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use contract::events::Observed;
use serde::Serialize;
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

/// An event whose newest version per id is stored as a row.
pub trait StoredEntity: Observed + Send + Sync + Unpin + 'static {
    /// `$1` ids → id, version, fingerprint, log_offset.
    const FIND_VERSIONS: &'static str;
    /// `$1` a JSON array of events, each with its fingerprint, log offset and size of its `conf`. Rows with
    /// the same or a newer version stay as they are.
    const UPSERT: &'static str;
    /// `$1` ids → the events, as JSON.
    const FIND: &'static str;
    /// `$1` ids without a row, `$2` ids of their parents, `$3` the times that order runs (nullable), `$4` the
    /// times of their last activity → the ids that are past retention.
    const EXPIRED: &'static str;

    /// The size of a run's `conf` as compact JSON, in bytes; none where there is no `conf`.
    fn conf_size(&self) -> Option<usize> {
        None
    }
}

/// The version of an entity that its row holds.
#[derive(sqlx::FromRow)]
pub struct StoredVersion {
    pub id: Uuid,
    pub version: i64,
    pub fingerprint: Vec<u8>,
    /// The offset of the record that it was read from.
    pub log_offset: i64,
}

/// Finds the stored versions of entities, by id.
pub async fn find_versions<E: StoredEntity>(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, StoredVersion>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<StoredVersion> = sqlx::query_as(E::FIND_VERSIONS).bind(ids).fetch_all(db).await?;
    Ok(rows.into_iter().map(|stored| (stored.id, stored)).collect())
}

/// Returns the last version that was drawn.
pub(crate) async fn find_last_version(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar("select coalesce(pg_sequence_last_value('observation_version'), 0)")
        .fetch_one(db)
        .await
}

/// Finds entities and returns them as the events that they were projected from.
pub async fn find<E: StoredEntity>(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<E>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<Json<E>> = sqlx::query_scalar(E::FIND).bind(ids).fetch_all(db).await?;
    Ok(events.into_iter().map(|event| event.0).collect())
}

/// Events with the offset of their record, as `UPSERT` takes them.
#[derive(Serialize)]
struct EntityRow<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    fingerprint: String,
    log_offset: i64,
    conf_size: Option<usize>,
}

/// Inserts or updates the rows of events, each given with the offset of its record.
pub async fn upsert<E: StoredEntity>(db: impl PgExecutor<'_>, events: &[(&E, i64)]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = events
        .iter()
        .map(|&(event, log_offset)| {
            let fingerprint = event.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
            EntityRow { event, fingerprint, log_offset, conf_size: event.conf_size() }
        })
        .collect();
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(E::UPSERT).bind(rows).execute(db).await?;
    Ok(())
}

/// An entity without a row, and the times by which it expires.
pub struct ExpiryCandidate {
    pub id: Uuid,
    /// The pipeline of a run, the run of a task run.
    pub parent_id: Uuid,
    /// The time that orders runs; none when its rank among the runs does not matter.
    pub ordered_at: Option<DateTime<Utc>>,
    pub last_activity_at: DateTime<Utc>,
}

/// Finds which of these entities are past retention, by id.
pub async fn find_expired<E: StoredEntity>(
    db: impl PgExecutor<'_>,
    candidates: &[ExpiryCandidate],
) -> sqlx::Result<HashSet<Uuid>> {
    if candidates.is_empty() {
        return Ok(HashSet::new());
    }
    let expired: Vec<Uuid> = sqlx::query_scalar(E::EXPIRED)
        .bind(candidates.iter().map(|candidate| candidate.id).collect::<Vec<_>>())
        .bind(candidates.iter().map(|candidate| candidate.parent_id).collect::<Vec<_>>())
        .bind(candidates.iter().map(|candidate| candidate.ordered_at).collect::<Vec<_>>())
        .bind(candidates.iter().map(|candidate| candidate.last_activity_at).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    Ok(expired.into_iter().collect())
}
