//! What the indexes of the lists of runs cost the projection: the same batches with all of them, without any
//! and without each of them, in turns on one database. Each batch is rolled back with the removal of the
//! indexes, and a turn ends with a vacuum, so that all meet the same tables. Its cost is the processor time
//! of the session, which other programs hardly change.

use std::fmt::Write;
use std::time::{Duration, Instant};

use contract::events::{RunObserved, TaskRunObserved};
use orchestration_bench::execute;
use sqlx::{Connection, PgConnection};

use crate::history::{LongHistory, TASKS_OF_A_RUN};
use crate::measures::{BatchRows, WriteBatch, write_rows};

const RUNS: i64 = 300_000;
const TURNS: i64 = 20;

/// The indexes that the other programs need, and those of the plain lists.
const OTHERS: [&str; 6] = [
    "runs_pkey",
    "runs_unfinished",
    "runs_triggered_by",
    "runs_space_ordered",
    "runs_pipeline_ordered",
    "runs_pipeline_counted",
];

#[derive(Clone, Copy)]
enum MeasuredBatch {
    NewRuns,
    ChangedRuns,
    /// As a first sync publishes them.
    NewRunsWithTasks,
}

impl MeasuredBatch {
    const ALL: [(Self, &str); 3] = [
        (Self::NewRuns, "1,000 new runs"),
        (Self::ChangedRuns, "1,000 changed runs"),
        (Self::NewRunsWithTasks, "1,000 new runs with 5,000 new task runs"),
    ];

    async fn write(self, db: &mut PgConnection, runs: &BatchRows, tasks: &[BatchRows]) -> anyhow::Result<()> {
        if let Self::ChangedRuns = self {
            return write_rows::<RunObserved>(db, &runs.ids, Some(&runs.changed)).await;
        }
        write_rows::<RunObserved>(db, &runs.new_ids, Some(&runs.new)).await?;
        if let Self::NewRunsWithTasks = self {
            for rows in tasks {
                write_rows::<TaskRunObserved>(db, &rows.new_ids, Some(&rows.new)).await?;
            }
        }
        Ok(())
    }
}

/// The sum of what batches took.
#[derive(Clone, Copy, Default)]
struct BatchCost {
    processor: Duration,
    elapsed: Duration,
}

impl BatchCost {
    fn milliseconds(self) -> f64 {
        self.processor.as_secs_f64() * 1e3 / TURNS as f64
    }
}

/// Measures the batches, and prints a table of their costs and one of the shares of the indexes.
pub(crate) async fn measure() -> anyhow::Result<()> {
    let mut history = LongHistory::begin().await?;
    history.grow_to(RUNS).await?;
    platform::db::create_text_indexes(&history.db).await?;
    let mut db = PgConnection::connect(&history.url).await?;
    let indexes: Vec<String> = sqlx::query_scalar(
        "select indexrelid::regclass::text from pg_index
         where indrelid = 'runs'::regclass and indexrelid::regclass::text <> all($1) order by 1",
    )
    .bind(&OTHERS[..])
    .fetch_all(&mut db)
    .await?;
    let mut costs = Vec::new();
    for (batch, _) in MeasuredBatch::ALL {
        costs.push(measure_in_turns(&mut db, batch, &indexes).await?);
    }
    local::print(&cost_table(&indexes, &costs));
    local::print(&share_table(&indexes, &costs));
    history.drop().await
}

fn cost_table(indexes: &[String], costs: &[Vec<BatchCost>]) -> String {
    let mut table = format!(
        "| batch | without {} indexes | with them | ratio | of elapsed time |\n|---|---:|---:|---:|---:|",
        indexes.len()
    );
    for ((_, name), costs) in MeasuredBatch::ALL.iter().zip(costs) {
        let [without, with] = [costs[0], costs[1]];
        let elapsed = with.elapsed.as_secs_f64() / without.elapsed.as_secs_f64();
        let _ = write!(
            table,
            "\n| {name} | {:.0} ms | {:.0} ms | {:.2} | {elapsed:.2} |",
            without.milliseconds(),
            with.milliseconds(),
            with.milliseconds() / without.milliseconds()
        );
    }
    table
}

/// How much less each batch costs without one of the indexes than with all of them.
fn share_table(indexes: &[String], costs: &[Vec<BatchCost>]) -> String {
    let mut table = "| index |".to_owned();
    for (_, name) in MeasuredBatch::ALL {
        let _ = write!(table, " {name} |");
    }
    table += "\n|---|---:|---:|---:|";
    for (n, index) in indexes.iter().enumerate() {
        let _ = write!(table, "\n| `{index}` |");
        for costs in costs {
            let share = costs[1].milliseconds() - costs[2 + n].milliseconds();
            let _ = write!(table, " {share:.1} ms |");
        }
    }
    table
}

/// Returns the costs without any of the indexes, with all of them, and without each of them.
async fn measure_in_turns(
    db: &mut PgConnection,
    batch: MeasuredBatch,
    indexes: &[String],
) -> anyhow::Result<Vec<BatchCost>> {
    let without_one = indexes.iter().map(std::slice::from_ref);
    let removed: Vec<&[String]> = [indexes, &[]].into_iter().chain(without_one).collect();
    let mut costs = vec![BatchCost::default(); removed.len()];
    for turn in 0..TURNS {
        let runs = WriteBatch::runs(RUNS).rows(db, turn).await?;
        let mut tasks = Vec::new();
        for _ in 0..TASKS_OF_A_RUN {
            tasks.push(WriteBatch::task_runs(RUNS).rows(db, turn).await?);
        }
        for place in 0..removed.len() {
            // Each is the first in some turn: what a batch leaves behind is met by those after it.
            let which = (place + usize::try_from(turn)?) % removed.len();
            let mut tx = db.begin().await?;
            if !removed[which].is_empty() {
                execute(&mut tx, &format!("drop index {}", removed[which].join(", "))).await?;
            }
            let (processor, started) = (processor_time(&mut tx).await?, Instant::now());
            batch.write(&mut tx, &runs, &tasks).await?;
            costs[which].elapsed += started.elapsed();
            costs[which].processor += processor_time(&mut tx).await? - processor;
            tx.rollback().await?;
        }
        execute(db, "vacuum runs, task_runs").await?;
    }
    Ok(costs)
}

/// The time that the session of PostgreSQL has run on a processor, as Linux counts it.
async fn processor_time(db: &mut PgConnection) -> anyhow::Result<Duration> {
    let nanoseconds: i64 =
        sqlx::query_scalar("select split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::int8")
            .fetch_one(db)
            .await?;
    Ok(Duration::from_nanos(u64::try_from(nanoseconds)?))
}
