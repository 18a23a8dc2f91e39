//! Follow-ups: syncs for runs that were triggered through the API and have not finished, so that their
//! changes show within seconds and not with the next schedule.

use contract::ids::SyncId;
use platform::sync_queue::{NewSync, SyncOrigin, enqueue};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::connectors;

/// How long after its trigger a run is followed, as a PostgreSQL interval.
const MAX_TRIGGER_AGE: &str = "1 day";
/// The shortest time between two polls of a connector for follow-ups, as a PostgreSQL interval.
const MIN_INTERVAL: &str = "2 seconds";
/// The time between two polls is the age of the trigger divided by this.
const AGE_DIVISOR: f64 = 10.0;

/// Enqueues a sync for every idle connector with such a run; returns how many.
pub async fn enqueue_follow_ups(pool: &PgPool) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let followed = connectors::find_followed(&mut *tx, MAX_TRIGGER_AGE, MIN_INTERVAL, AGE_DIVISOR).await?;
    let syncs: Vec<NewSync> = followed
        .into_iter()
        .map(|(space_id, connector_id)| NewSync {
            id: SyncId(Uuid::now_v7()),
            space_id,
            connector_id,
            full: false,
            accept_mass_deletion: false,
            origin: SyncOrigin::FollowUp,
        })
        .collect();
    let enqueued = enqueue(&mut tx, &syncs).await?;
    tx.commit().await?;
    Ok(enqueued)
}
