//! Retention: removes rows that are past their retention from PostgreSQL, in small batches, at a steady rate,
//! one worker at a time. `projection` and `sync` read the stored retention, so that removed rows are not
//! stored again from Kafka or the provider.

mod kinds;
mod pass;
mod policy;

use std::time::Duration;

use platform::health::Heartbeat;
use platform::periodic::Periodic;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use pass::run_due_pass;
pub use policy::RetentionConfig;

use crate::store::{histories, retention};
use kinds::KINDS;

const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Stores the policy once, then runs every pass that is due until stopped.
pub async fn run(pool: PgPool, config: RetentionConfig, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut is_stored = false;
    let mut ticks = Periodic::new(POLL_INTERVAL, stop.clone()).with_heartbeat(heartbeat.clone());
    while ticks.next().await {
        let pass = async {
            if !is_stored {
                store_policy(&pool, &config).await?;
                is_stored = true;
            }
            run_due_pass(&pool, config.retention_rows_per_second, &heartbeat, &stop).await
        };
        if let Err(error) = pass.await {
            tracing::warn!(%error, "retention pass failed; retrying");
        }
    }
}

/// Stores the policy. Where it changes, a pass is due. Histories that a shorter retention has cut are due
/// again when the retention grows.
pub async fn store_policy(pool: &PgPool, config: &RetentionConfig) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    retention::lock(&mut tx).await?;
    let mut has_changed = false;
    for kind in &KINDS {
        let (what, days) = (kind.what, (kind.days)(config));
        let before = retention::find_days(&mut tx, what).await?;
        if before == Some(days) {
            continue;
        }
        retention::set_days(&mut tx, what, days).await?;
        has_changed = true;
        if before.is_some() {
            tracing::info!(what, days, "retention changed");
        }
        if let Some(Some(before)) = before
            && days.is_none_or(|days| days > before)
            && matches!(what, "runs" | "task_runs")
        {
            histories::mark_longer_than_unread(&mut tx, before).await?;
        }
    }
    if has_changed {
        retention::make_pass_due(&mut tx).await?;
    }
    tx.commit().await
}
