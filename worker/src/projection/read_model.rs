//! Waiting for the read model, until it contains what was published.

use std::time::Duration;

use platform::offsets::{Offsets, find_lag};
use sqlx::PgPool;
use tokio::time::Instant;

/// How long the read model may make no progress before a wait for it ends.
const TIMEOUT: Duration = Duration::from_secs(60);
const MIN_INTERVAL: Duration = Duration::from_millis(25);
const MAX_INTERVAL: Duration = Duration::from_millis(500);
/// The interval between two looks is the duration of the wait so far divided by this.
const INTERVAL_DIVISOR: u32 = 5;

/// Waits until the read model contains the records before these offsets, as long as it makes progress.
/// Returns how many it still lacks: none unless it made no progress for a minute.
pub(crate) async fn await_projected(pool: &PgPool, target: &Offsets) -> sqlx::Result<i64> {
    if target.is_empty() {
        return Ok(0);
    }
    let started = Instant::now();
    let (mut least, mut since) = (i64::MAX, started);
    loop {
        let behind = find_lag(pool, target).await?;
        if behind < least {
            (least, since) = (behind, Instant::now());
        }
        if behind == 0 || since.elapsed() > TIMEOUT {
            return Ok(behind);
        }
        let interval = started.elapsed() / INTERVAL_DIVISOR;
        tokio::time::sleep(interval.clamp(MIN_INTERVAL, MAX_INTERVAL)).await;
    }
}
