//! The incidents of the demo: a run that takes longer than usual, and a start that is missed. What is usual
//! is learned from a history that is written before.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DurationRound, TimeDelta, Utc};
use serde_json::json;

use crate::airflow::{AirflowServer, SeedRuns, seed_runs_every};
use crate::progress::note;

/// The example DAG whose runs take as long as an event of its asset says.
pub(super) const SLOW: &str = "order_export";
const ASSET: &str = "orders";
/// A run is slow a minute after its usual duration, and is reported 30 seconds later.
const SLOW_SECONDS: u32 = 150;
/// The example DAG that has one run at a time. Its parameter is how long a run takes.
pub(super) const LATE: &str = "payment_import";
const LATE_INTERVAL: TimeDelta = TimeDelta::minutes(3);
/// How late the next run starts: less than the interval, so that no other one is missed.
const MISSED: TimeDelta = TimeDelta::seconds(150);
const USUAL_SECONDS: u32 = 5;
const SEEDED_RUNS: u32 = 48;

/// Starts a run that delays the next one of its DAG, and one that is slow.
pub(super) async fn start_unusual_runs(airflow: &AirflowServer) -> Result<()> {
    delay_next_start(airflow).await?;
    start_slow_run(airflow).await
}

/// Starts a run that is slow. One that takes as long as usual comes first: it ends the incident of an earlier
/// demo.
async fn start_slow_run(airflow: &AirflowServer) -> Result<()> {
    let history = SeedRuns {
        dag_id: SLOW.to_owned(),
        task_id: "export".to_owned(),
        scheduled: false,
        newest: Utc::now() - TimeDelta::hours(1),
        runs: SEEDED_RUNS,
        seconds: USUAL_SECONDS,
    };
    unpause_with_history(airflow, &history, TimeDelta::hours(1)).await?;
    for seconds in [USUAL_SECONDS, SLOW_SECONDS] {
        airflow.trigger_by_asset(ASSET, SLOW, &json!({ "seconds": seconds })).await?;
    }
    note(&format!("a run of {SLOW} takes {SLOW_SECONDS} s instead of {USUAL_SECONDS} s"));
    Ok(())
}

/// Starts a run by hand that lasts beyond the next due time, unless one is under way. Airflow starts the run
/// that is due when the other one has ended.
pub async fn delay_next_start(airflow: &AirflowServer) -> Result<()> {
    let history = SeedRuns {
        dag_id: LATE.to_owned(),
        task_id: "import_payments".to_owned(),
        scheduled: true,
        // Otherwise Airflow would start the run that was due last as soon as the DAG is unpaused.
        newest: Utc::now().duration_trunc(LATE_INTERVAL)?,
        runs: SEEDED_RUNS,
        seconds: USUAL_SECONDS,
    };
    unpause_with_history(airflow, &history, LATE_INTERVAL).await?;
    let by_hand = format!("dags/{LATE}/dagRuns?run_type=manual&state=queued&state=running&limit=1");
    if airflow.get(&by_hand).await?["total_entries"] == 0 {
        let now = Utc::now();
        let next = now.duration_trunc(LATE_INTERVAL)? + LATE_INTERVAL;
        airflow.trigger(LATE, &json!({ "seconds": (next + MISSED - now).num_seconds() })).await?;
    }
    note(&format!("a long run of {LATE} by hand delays the one that is due next"));
    Ok(())
}

/// Writes a history of a DAG that has no run yet, and unpauses the DAG.
async fn unpause_with_history(
    airflow: &AirflowServer,
    history: &SeedRuns,
    interval: TimeDelta,
) -> Result<()> {
    let dag = &history.dag_id;
    airflow
        .wait_for_dag(dag, Duration::from_secs(120))
        .await
        .context("Airflow gets new example DAGs when it starts: `cargo local down airflow`, and again")?;
    if airflow.get(&format!("dags/{dag}/dagRuns?limit=1")).await?["total_entries"] == 0 {
        seed_runs_every(airflow, history, interval).await?;
    }
    airflow.unpause(dag).await
}
