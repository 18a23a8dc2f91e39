//! The budget of a sync: a list without an end must not occupy a worker. No real source comes near it.

use std::time::Duration;

use super::{SyncError, SyncPass};

/// What a sync may use up.
#[derive(Clone, Copy, Debug)]
pub struct SyncBudget {
    pub requests: u64,
    /// Pipelines, runs and task runs, each as often as it is read.
    pub rows: u64,
    pub duration: Duration,
}

impl Default for SyncBudget {
    fn default() -> Self {
        Self { requests: 2_000_000, rows: 50_000_000, duration: Duration::from_secs(24 * 3600) }
    }
}

impl SyncPass<'_> {
    /// # Errors
    /// When the sync has used up its budget.
    pub(super) fn check_budget(&self) -> Result<(), SyncError> {
        let SyncBudget { requests, rows, duration } = self.job.budget;
        let report = self.report();
        let rows_seen = report.pipelines_seen + report.runs_seen + report.task_runs_seen;
        let used_up = if report.requests > requests {
            format!("{requests} requests")
        } else if rows_seen > rows {
            format!("{rows} rows")
        } else if self.started.elapsed() > duration {
            format!("{} minutes", duration.as_secs() / 60)
        } else {
            return Ok(());
        };
        Err(SyncError::BudgetUsedUp { used_up })
    }
}
