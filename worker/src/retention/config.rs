//! How long things are kept: as settings, and as they stand in PostgreSQL for everybody to read.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use sqlx::PgPool;

/// How long things are kept: for so many days, or for ever. Never less than `LEAST` days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep<const LEAST: i32>(pub(super) Option<i32>);

impl<const LEAST: i32> FromStr for Keep<LEAST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "forever" => Ok(Self(None)),
            Ok(days @ ..=36_500) if days >= LEAST => Ok(Self(Some(days))),
            _ => Err(format!("must be `forever` or a number of days from {LEAST} to 36500")),
        }
    }
}

impl<const LEAST: i32> fmt::Display for Keep<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(days) => write!(f, "{days}"),
            None => f.write_str("forever"),
        }
    }
}

/// What is kept how long.
#[derive(Args, Clone, Debug)]
pub struct RetentionConfig {
    /// Days that runs and their task runs are kept after they ended, or `forever`. A pipeline's latest run stays, and
    /// so do runs with comments. Histories are read no further back, whatever a connector's history_days say
    #[arg(long, env = "ORCHESTRATION_KEEP_RUNS", default_value_t = Keep(None))]
    pub keep_runs: Keep<1>,

    /// Days that task runs are kept after their run ended, where that is shorter
    #[arg(long, env = "ORCHESTRATION_KEEP_TASK_RUNS")]
    pub keep_task_runs: Option<Keep<1>>,

    /// Days that syncs are kept, or `forever`. A connector's latest stays. A request that Kafka still holds, for seven
    /// days, must find its sync
    #[arg(long, env = "ORCHESTRATION_KEEP_SYNCS", default_value_t = Keep(Some(30)))]
    pub keep_syncs: Keep<8>,

    /// Days that commands to trigger a run are kept, with their idempotency keys, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_TRIGGERS", default_value_t = Keep(Some(30)))]
    pub keep_triggers: Keep<2>,

    /// Days that dead letters are kept after they were sent again, or `forever`. Others stay
    #[arg(long, env = "ORCHESTRATION_KEEP_DEAD_LETTERS", default_value_t = Keep(Some(30)))]
    pub keep_dead_letters: Keep<1>,

    /// Days that it is kept who did what, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_AUDIT", default_value_t = Keep(None))]
    pub keep_audit: Keep<1>,

    /// Rows a second that are removed at most, of what is older than that
    #[arg(long, env = "ORCHESTRATION_RETENTION_ROWS_PER_SECOND", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub retention_rows_per_second: u32,
}

impl RetentionConfig {
    /// # Errors
    /// When task runs are to outlive their runs.
    pub fn check(&self) -> anyhow::Result<()> {
        let (runs, task_runs) = (self.keep_runs.0, self.keep_task_runs.and_then(|keep| keep.0));
        let outlives = runs.zip(task_runs).is_some_and(|(runs, task_runs)| task_runs > runs);
        anyhow::ensure!(
            !outlives,
            "--keep-task-runs is longer than --keep-runs: task runs go with their run; make it shorter, or leave it out"
        );
        Ok(())
    }

    pub(super) fn task_run_days(&self) -> Option<i32> {
        self.keep_task_runs.and_then(|keep| keep.0).or(self.keep_runs.0)
    }
}

/// For how many days runs and task runs are kept; none for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    pub runs: Option<i32>,
    pub task_runs: Option<i32>,
}

impl Kept {
    /// As the workers were last told.
    ///
    /// # Errors
    /// When PostgreSQL is away.
    pub async fn read(pool: &PgPool) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "select (select days from retention where what = 'runs') as runs,
                 (select days from retention where what = 'task_runs') as task_runs",
        )
        .fetch_one(pool)
        .await
    }
}
