//! What is measured at each size: what the worker writes, what the API reads, what is removed, and what
//! upkeep costs. Each is the median of many, on rows all over the history.

use std::time::{Duration, Instant};

use api::store::page::Paging;
use api::store::pipelines::{self, MetricsWindow, PipelineFilter, PipelineQuery, PipelineSort};
use api::store::runs::{self, RunFilter, RunQuery, RunsOf};
use clap::Parser;
use contract::events::{RunObserved, TaskRunObserved};
use contract::ids::{RunId, SpaceId, UserId};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::retention::{self, RetentionConfig};
use worker::store::entities::StoredEntity;

use crate::history::{History, TASKS_OF_A_RUN};
use crate::report::{Report, Unit};

const BATCH: i64 = 1_000;
const BATCHES: i64 = 15;
const READS: usize = 200;

pub(crate) async fn all(history: &History, runs: i64, report: &mut Report) -> anyhow::Result<()> {
    report.size(runs);
    writes(history, runs, report).await?;
    reads(history, runs, report).await?;
    sizes(&history.db, report).await?;
    removal(history, runs, report).await?;
    upkeep(history, report).await
}

/// Batches as the projection writes them.
async fn writes(history: &History, runs: i64, report: &mut Report) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&history.url).await?;
    let task_runs = Batch { of: "task_runs", one: "md5('task' || 1 + n % 5 || '/' || n)::uuid", runs };
    let names = ["1,000 new task runs", "1,000 changed task runs", "1,000 unchanged task runs"];
    task_runs.write::<TaskRunObserved>(&mut db, names, report).await?;
    let runs = Batch { of: "runs", one: "md5('run' || n)::uuid", runs };
    let names = ["1,000 new runs", "1,000 changed runs", "1,000 unchanged runs"];
    runs.write::<RunObserved>(&mut db, names, report).await
}

struct Batch {
    of: &'static str,
    /// The id of the row with a number `n`.
    one: &'static str,
    runs: i64,
}

impl Batch {
    async fn write<E: StoredEntity>(
        &self,
        db: &mut PgConnection,
        [new, changed, unchanged]: [&'static str; 3],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut took = [const { Vec::new() }; 3];
        for turn in 0..BATCHES {
            let (ids, as_changed, fresh, as_new) = self.rows(db, turn).await?;
            took[0].push(apply::<E>(db, &fresh, Some(&as_new)).await?);
            took[1].push(apply::<E>(db, &ids, Some(&as_changed)).await?);
            took[2].push(apply::<E>(db, &ids, None).await?);
            sqlx::query(sqlx::AssertSqlSafe(format!("delete from {} where id = any($1)", self.of)))
                .bind(fresh)
                .execute(&mut *db)
                .await?;
        }
        for (name, took) in [new, changed, unchanged].into_iter().zip(took) {
            report.add(name, Unit::Milliseconds, median(took));
        }
        Ok(())
    }

    /// Rows all over the history, as the events that change them, and as events of entities that are new.
    async fn rows(
        &self,
        db: &mut PgConnection,
        turn: i64,
    ) -> anyhow::Result<(Vec<Uuid>, String, Vec<Uuid>, String)> {
        let Self { of, one, runs } = self;
        let rows = format!(
            "with picked as (
                 select id, md5('new' || id)::uuid as new_id, to_jsonb(t) || jsonb_build_object('version',
                 100000000 + $1, 'fingerprint', 'ab', 'deleted', false) as row
                 from {of} t where t.id in (select {one} from (select floor(random() * {runs})::bigint as n
                 from generate_series(1, {BATCH})) x))
             select array_agg(id), json_agg(row)::text, array_agg(new_id),
             json_agg(row || jsonb_build_object('id', new_id))::text from picked"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).bind(turn).fetch_one(db).await?)
    }
}

/// Looks the entities up and writes them, unless nothing has changed.
async fn apply<E: StoredEntity>(
    db: &mut PgConnection,
    ids: &[Uuid],
    rows: Option<&str>,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut tx = db.begin().await?;
    sqlx::query(E::FIND_VERSIONS).bind(ids).fetch_all(&mut *tx).await?;
    if let Some(rows) = rows {
        sqlx::query(E::UPSERT).bind(rows).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(began.elapsed())
}

/// Reads as the API's handlers request them.
async fn reads(history: &History, runs: i64, report: &mut Report) -> anyhow::Result<()> {
    read_single_runs(history, runs, report).await?;
    read_pages_of_runs(history, report).await?;
    read_pages_of_pipelines(history, report).await
}

async fn read_single_runs(history: &History, runs: i64, report: &mut Report) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select md5('run' || floor(random() * $1 / 10000)::bigint * 10000 + floor(random() *
         500)::bigint)::uuid
         from generate_series(1, $2)",
    )
    .bind(runs as f64)
    .bind(READS as i64)
    .fetch_all(db)
    .await?;
    let mut took = Vec::new();
    for id in ids {
        let began = Instant::now();
        runs::find(db, space, RunId(id), false).await?;
        took.push(began.elapsed());
    }
    report.add("a run with its task runs", Unit::Milliseconds, median(took));
    Ok(())
}

async fn read_pages_of_runs(history: &History, report: &mut Report) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    let failed = RunFilter { status: vec![contract::state::RunState::Failed], ..RunFilter::default() };
    let deleted = RunFilter { include_deleted: true, ..RunFilter::default() };
    for (name, filter, page) in [
        ("50 newest runs of a space, with their total", RunFilter::default(), 1),
        ("… the deleted included", deleted, 1),
        ("… the 1,000th page", RunFilter::default(), 1000),
        ("… those that failed", failed, 1),
    ] {
        let query = RunQuery { filter, sort: None };
        let mut took = Vec::new();
        for _ in 0..READS / 10 {
            let began = Instant::now();
            let paging = Paging::new(page, 50);
            runs::list(db, space, nobody(), &RunsOf::Space(&PipelineFilter::default()), &query, paging)
                .await?;
            took.push(began.elapsed());
        }
        report.add(name, Unit::Milliseconds, median(took));
    }
    Ok(())
}

async fn read_pages_of_pipelines(history: &History, report: &mut Report) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    for (name, days) in [("50 pipelines, metrics of 30 days", 30), ("50 pipelines, metrics of 365 days", 365)]
    {
        let query = PipelineQuery {
            filter: PipelineFilter::default(),
            status: Vec::new(),
            sort: PipelineSort::Name,
            descending: false,
            window: MetricsWindow { days, include_deleted: false },
        };
        let mut took = Vec::new();
        for _ in 0..READS / 10 {
            let began = Instant::now();
            let paging = Paging::new(1, 50);
            pipelines::list(db, space, nobody(), &query, paging).await?;
            took.push(began.elapsed());
        }
        report.add(name, Unit::Milliseconds, median(took));
    }
    Ok(())
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    retention: RetentionConfig,
}

/// The oldest day's runs go, as a daily pass would have it.
async fn removal(history: &History, runs: i64, report: &mut Report) -> anyhow::Result<()> {
    let oldest = "select extract(day from now() - min(ordered_at))::int8 from runs";
    let oldest: i64 = sqlx::query_scalar(oldest).fetch_one(&history.db).await?;
    let keep = ["bench", "--keep-runs", &oldest.to_string()];
    let settings = Settings::try_parse_from(keep)?.retention;
    retention::store_policy(&history.db, &settings).await?;
    sqlx::query("update retention set next_pass_at = now()").execute(&history.db).await?;
    let began = Instant::now();
    retention::run_due_pass(&history.db, u32::MAX, &CancellationToken::new()).await?;
    let took = began.elapsed();
    let left: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&history.db).await?;
    let removed = (runs - left) * (1 + TASKS_OF_A_RUN);
    anyhow::ensure!(removed > 0, "nothing was removed");
    report.add(
        "removing 1,000 rows that are too old",
        Unit::Milliseconds,
        took.as_secs_f64() * 1e6 / removed as f64,
    );
    Ok(())
}

/// Vacuum, with the dead rows that writes and removal have left.
async fn upkeep(history: &History, report: &mut Report) -> anyhow::Result<()> {
    for (name, statement) in [
        ("vacuum of task runs", "vacuum (index_cleanup on, analyze) task_runs"),
        ("vacuum of runs", "vacuum (index_cleanup on, analyze) runs"),
    ] {
        let began = Instant::now();
        history.run(&[statement.to_owned()]).await?;
        report.add(name, Unit::Seconds, began.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn sizes(db: &PgPool, report: &mut Report) -> anyhow::Result<()> {
    for (name, relation) in [
        ("size of task_runs", "task_runs"),
        ("… its key", "task_runs_pkey"),
        ("… by run", "task_runs_run"),
        ("size of runs", "runs"),
        ("… its key, of runs", "runs_pkey"),
        ("… by pipeline", "runs_pipeline"),
        ("… by space", "runs_space"),
        ("… for metrics", "runs_metrics"),
    ] {
        let bytes: i64 =
            sqlx::query_scalar("select pg_relation_size($1::regclass)").bind(relation).fetch_one(db).await?;
        report.add(name, Unit::Megabytes, bytes as f64 / 1e6);
    }
    Ok(())
}

fn nobody() -> UserId {
    UserId(Uuid::nil())
}

/// In milliseconds.
fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took[took.len() / 2].as_secs_f64() * 1e3
}
