//! Expectations: what the runs of each pipeline usually do is learned again whenever its runs have changed,
//! by one worker at a time. `signals` compares runs with it.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use contract::ids::PipelineId;
use platform::health::Heartbeat;
use platform::periodic::Periodic;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::store::expectations::{self, SampleBounds};
use crate::store::signals::try_lock;

const INTERVAL: Duration = Duration::from_secs(5);
/// How many pipelines are learned in one transaction.
const BATCH: usize = 50;
/// Advisory lock of the learning worker ("expect" in ASCII).
const LOCK: i64 = 0x6578_7065_6374;
/// Samples are taken from the newest runs of so many days; expectations look at 42 of them.
const SAMPLED_DAYS: i64 = 43;
/// How many of a pipeline's newest runs are searched for samples: when it is learned for the first time, as
/// many as an hourly pipeline has in the sampled days, and later those that may have changed.
const FIRST_SEARCHED_RUNS: i64 = 1_500;
const SEARCHED_RUNS: i64 = 300;
/// How many samples of a pipeline are kept.
const SAMPLES: i64 = 1_200;

/// Learns pipelines whose runs have changed until stopped.
pub(crate) async fn run(pool: PgPool, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut ticks = Periodic::new(INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        match learn_changed(&pool).await {
            Ok(BATCH) => ticks.skip_pause(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "expectations not learned; retrying"),
        }
    }
}

/// Learns a batch of pipelines whose runs have changed; returns how many. Also zero while another worker
/// does.
pub async fn learn_changed(pool: &PgPool) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    if !try_lock(&mut tx, LOCK).await? {
        return Ok(0);
    }
    let changed = expectations::find_changed(&mut *tx, BATCH as i64).await?;
    let pipelines: Vec<PipelineId> = changed.iter().map(|changed| changed.pipeline_id).collect();
    if pipelines.is_empty() {
        return Ok(0);
    }
    let now = Utc::now();
    let since = now - TimeDelta::days(SAMPLED_DAYS);
    let mut sampled = Vec::new();
    for (is_known, runs) in [(true, SEARCHED_RUNS), (false, FIRST_SEARCHED_RUNS)] {
        let group: Vec<PipelineId> = changed
            .iter()
            .filter(|changed| changed.is_known == is_known)
            .map(|changed| changed.pipeline_id)
            .collect();
        let bounds = SampleBounds { since, runs, samples: SAMPLES };
        sampled.extend(expectations::sample(&mut *tx, &group, bounds).await?);
    }
    // Where no run has ended, nothing is learned anew.
    expectations::accept_regimes(&mut *tx, &sampled, now).await?;
    expectations::upsert(&mut *tx, &changed).await?;
    expectations::learn(&mut tx, &sampled, now).await?;
    expectations::delete_old_samples(&mut *tx, &sampled, SAMPLES).await?;
    tx.commit().await?;
    Ok(pipelines.len())
}
