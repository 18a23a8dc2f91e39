//! Deleted connectors: the API hides them at once, and a worker publishes their pipelines as inactive, so
//! that subscribers and a rebuild agree with the API.

use std::time::Duration;

use contract::events::{PipelineObserved, Record, Topic};
use platform::health::Heartbeat;
use platform::kafka::Producer;
use platform::periodic::Periodic;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::metrics::count_changes;
use crate::store::{connector_state, entities, pipelines};
use crate::sync::SyncError;

const INTERVAL: Duration = Duration::from_secs(5);
/// How many pipelines are published at once; the next ones follow once the read model contains these.
const BATCH: i64 = 200;

/// Deactivates the pipelines of deleted connectors until stopped.
pub(crate) async fn run(
    pool: PgPool,
    producer: Producer,
    owner: String,
    heartbeat: Heartbeat,
    stop: CancellationToken,
) {
    let mut ticks = Periodic::new(INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        match deactivate_next(&pool, &producer, &owner).await {
            Ok(0) => {}
            Ok(_) => ticks.skip_pause(),
            Err(error) => {
                tracing::warn!(%error, "pipelines of a deleted connector not deactivated; retrying")
            }
        }
    }
}

/// Publishes the next active pipelines of a deleted connector as inactive; returns how many. A connector
/// whose last records are not yet in the read model is passed over, so that no pipeline is published twice.
///
/// # Errors
/// When PostgreSQL or Kafka fails. The connector is leased again when the lease has expired.
pub async fn deactivate_next(pool: &PgPool, producer: &Producer, owner: &str) -> Result<usize, SyncError> {
    let Some(lease) = connector_state::lease_deleted(pool, owner).await? else { return Ok(0) };
    let connector_id = lease.connector_id;
    let active = pipelines::find_active(pool, connector_id, BATCH).await?;
    // Drawn under the lease: a sync that has lost it publishes lower versions, or is corrected afterwards.
    let observation = platform::db::observe(pool).await?;
    let inactive = entities::find::<PipelineObserved>(pool, &active).await?.into_iter().map(|pipeline| {
        let (version, observed_at) = (observation.version, observation.at);
        PipelineObserved { version, observed_at, is_active: false, ..pipeline }
    });
    let records: Vec<Record> = inactive
        .map(|pipeline| Record::of(&pipeline))
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sent = producer.send(&records).await?;
    let mut db = pool.acquire().await?;
    connector_state::store_published(&mut *db, lease, &sent.offsets).await?;
    connector_state::release(&mut db, lease).await?;
    count_changes(Topic::Pipelines, records.len() as u64);
    tracing::info!(%connector_id, pipelines = records.len(), "pipelines of a deleted connector deactivated");
    Ok(records.len())
}
