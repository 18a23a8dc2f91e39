//! Follow-ups: syncs for runs that were triggered through the API and have not finished, so that their changes show
//! within seconds and not with the next schedule.

use sqlx::PgPool;

use crate::store::syncs;

/// Enqueues a sync for every connector with such a run; returns how many. The interval grows with the age of the
/// trigger: a tenth of it, and at least two seconds.
pub async fn enqueue_follow_ups(pool: &PgPool) -> sqlx::Result<u64> {
    syncs::insert_follow_ups(pool).await
}
