//! Follow-ups: syncs for runs that were triggered through the API and have not finished, so that their
//! changes show within seconds and not with the next schedule.

use sqlx::PgPool;

use crate::store::syncs;

/// How long after its trigger a run is followed, as a PostgreSQL interval.
const MAX_TRIGGER_AGE: &str = "1 day";
/// The shortest time between two polls of a connector for follow-ups, as a PostgreSQL interval.
const MIN_INTERVAL: &str = "2 seconds";
/// The time between two polls is the age of the trigger divided by this.
const AGE_DIVISOR: f64 = 10.0;

/// Enqueues a sync for every idle connector with such a run; returns how many.
pub async fn enqueue_follow_ups(pool: &PgPool) -> sqlx::Result<u64> {
    syncs::insert_follow_ups(pool, MAX_TRIGGER_AGE, MIN_INTERVAL, AGE_DIVISOR).await
}
