//! What the indexes of the lists of runs cost the projection: the same batches with and without them, in
//! turns on one database. Each batch is rolled back with the removal of the indexes, so that all meet the
//! same tables. Its cost is the processor time of the session, which other programs hardly change.

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

/// Measures the batches, and prints a table.
pub(crate) async fn measure() -> anyhow::Result<()> {
    let mut history = LongHistory::begin().await?;
    history.grow_to(RUNS).await?;
    platform::db::create_text_index(&history.db).await?;
    let mut db = PgConnection::connect(&history.url).await?;
    let removed: Vec<String> = sqlx::query_scalar(
        "select indexrelid::regclass::text from pg_index
         where indrelid = 'runs'::regclass and indexrelid::regclass::text <> all($1)",
    )
    .bind(&OTHERS[..])
    .fetch_all(&mut db)
    .await?;
    let mut table = format!(
        "| batch | without {} indexes | with them | ratio | of elapsed time |\n|---|---:|---:|---:|---:|",
        removed.len()
    );
    for (batch, name) in MeasuredBatch::ALL {
        let [without, with] = measure_in_turns(&mut db, batch, &removed).await?;
        let milliseconds = |cost: BatchCost| cost.processor.as_secs_f64() * 1e3 / TURNS as f64;
        let elapsed = with.elapsed.as_secs_f64() / without.elapsed.as_secs_f64();
        let _ = write!(
            table,
            "\n| {name} | {:.0} ms | {:.0} ms | {:.2} | {elapsed:.2} |",
            milliseconds(without),
            milliseconds(with),
            milliseconds(with) / milliseconds(without)
        );
    }
    local::print(&table);
    history.drop().await
}

/// Returns the cost without and with the indexes.
async fn measure_in_turns(
    db: &mut PgConnection,
    batch: MeasuredBatch,
    removed: &[String],
) -> anyhow::Result<[BatchCost; 2]> {
    let mut costs = [BatchCost::default(); 2];
    for turn in 0..TURNS {
        let runs = WriteBatch::runs(RUNS).rows(db, turn).await?;
        let mut tasks = Vec::new();
        for _ in 0..TASKS_OF_A_RUN {
            tasks.push(WriteBatch::task_runs(RUNS).rows(db, turn).await?);
        }
        let first = usize::from(turn % 2 == 0);
        for with in [first, 1 - first] {
            let mut tx = db.begin().await?;
            if with == 0 {
                execute(&mut tx, &format!("drop index {}", removed.join(", "))).await?;
            }
            let (processor, started) = (processor_time(&mut tx).await?, Instant::now());
            batch.write(&mut tx, &runs, &tasks).await?;
            costs[with].elapsed += started.elapsed();
            costs[with].processor += processor_time(&mut tx).await? - processor;
            tx.rollback().await?;
        }
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
