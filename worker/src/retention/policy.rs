//! The retention policy: for how long each kind of row is kept.

use std::fmt;
use std::str::FromStr;

use clap::Args;

/// For how many days rows are kept: at least `MIN`, or forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionDays<const MIN: i32>(Option<i32>);

impl<const MIN: i32> RetentionDays<MIN> {
    /// The days; none means forever.
    pub(super) fn days(self) -> Option<i32> {
        self.0
    }
}

impl<const MIN: i32> FromStr for RetentionDays<MIN> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "forever" => Ok(Self(None)),
            Ok(days @ ..=36_500) if days >= MIN => Ok(Self(Some(days))),
            _ => Err(format!("must be `forever` or a number of days from {MIN} to 36500")),
        }
    }
}

impl<const MIN: i32> fmt::Display for RetentionDays<MIN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(days) => write!(f, "{days}"),
            None => f.write_str("forever"),
        }
    }
}

/// The settings of retention.
#[derive(Args, Clone, Debug)]
pub struct RetentionConfig {
    /// Days that runs and their task runs are kept after they ended, or `forever`. The latest run of a
    /// pipeline and runs with comments are always kept. Histories are read only as far back, even if a
    /// connector's history_days is longer
    #[arg(long, env = "ORCHESTRATION_KEEP_RUNS", default_value_t = RetentionDays(None))]
    pub keep_runs: RetentionDays<1>,

    /// Days that task runs are kept after their run ended, if shorter than for runs
    #[arg(long, env = "ORCHESTRATION_KEEP_TASK_RUNS")]
    pub keep_task_runs: Option<RetentionDays<1>>,

    /// Days that syncs are kept, or `forever`. The latest sync of a connector is always kept. The minimum
    /// exceeds the seven days for which Kafka keeps requests, because a request refers to its sync
    #[arg(long, env = "ORCHESTRATION_KEEP_SYNCS", default_value_t = RetentionDays(Some(30)))]
    pub keep_syncs: RetentionDays<8>,

    /// Days that trigger commands and their idempotency keys are kept, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_TRIGGERS", default_value_t = RetentionDays(Some(30)))]
    pub keep_triggers: RetentionDays<2>,

    /// Days that dead letters are kept after they were replayed, or `forever`. Other dead letters are always
    /// kept
    #[arg(long, env = "ORCHESTRATION_KEEP_DEAD_LETTERS", default_value_t = RetentionDays(Some(30)))]
    pub keep_dead_letters: RetentionDays<1>,

    /// Days that incidents are kept after they were resolved, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_INCIDENTS", default_value_t = RetentionDays(Some(365)))]
    pub keep_incidents: RetentionDays<1>,

    /// Days that the audit log is kept, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_AUDIT", default_value_t = RetentionDays(None))]
    pub keep_audit: RetentionDays<1>,

    /// Days that notifications are kept, in inboxes and in the log of deliveries, or `forever`. A message
    /// that is still to be delivered is always kept
    #[arg(long, env = "ORCHESTRATION_KEEP_NOTIFICATIONS", default_value_t = RetentionDays(Some(30)))]
    pub keep_notifications: RetentionDays<7>,

    /// Maximum number of rows that retention removes per second
    #[arg(
        long,
        env = "ORCHESTRATION_RETENTION_ROWS_PER_SECOND",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(100..=1_000_000)
    )]
    pub retention_rows_per_second: u32,
}

impl RetentionConfig {
    /// # Errors
    /// When task runs would outlive their runs.
    pub fn check(&self) -> anyhow::Result<()> {
        let (runs, task_runs) = (self.keep_runs.0, self.keep_task_runs.and_then(RetentionDays::days));
        let outlives = runs.zip(task_runs).is_some_and(|(runs, task_runs)| task_runs > runs);
        anyhow::ensure!(
            !outlives,
            "--keep-task-runs is longer than --keep-runs: task runs go with their run; make it shorter, or \
             leave it out"
        );
        Ok(())
    }

    pub(super) fn task_run_days(&self) -> Option<i32> {
        self.keep_task_runs.and_then(RetentionDays::days).or(self.keep_runs.0)
    }
}
