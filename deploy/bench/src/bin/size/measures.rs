//! The measurements at each size: writes of the worker, reads of the API, retention, vacuum and the sizes of
//! tables. Each is the median of many, on random rows of the whole history.

use std::time::{Duration, Instant};

use api::store::page::Paging;
use api::store::pipelines::{self, MetricsWindow, PipelineFilter, PipelineQuery, PipelineSort, PipelineView};
use api::store::runs::{self, RunFilter, RunQuery, RunsOf};
use clap::Parser;
use contract::events::{RunObserved, TaskRunObserved};
use contract::ids::{RunId, SpaceId, UserId};
use platform::health::Heartbeat;
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::retention::{self, RetentionConfig};
use worker::store::entities::StoredEntity;

use crate::history::{LongHistory, TASKS_OF_A_RUN};
use crate::report::{SizeReport, SizeUnit};

const BATCH: i64 = 1_000;
const BATCHES: i64 = 15;
const READS: usize = 200;

pub(crate) async fn measure_all(
    history: &LongHistory,
    runs: i64,
    report: &mut SizeReport,
) -> anyhow::Result<()> {
    report.size(runs);
    measure_writes(history, runs, report).await?;
    measure_reads(history, runs, report).await?;
    measure_sizes(&history.db, report).await?;
    measure_retention(history, runs, report).await?;
    measure_vacuum(history, report).await
}

/// Measures batches as the projection writes them.
async fn measure_writes(history: &LongHistory, runs: i64, report: &mut SizeReport) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&history.url).await?;
    let task_runs = WriteBatch::task_runs(runs);
    let names = ["1,000 new task runs", "1,000 changed task runs", "1,000 unchanged task runs"];
    task_runs.write::<TaskRunObserved>(&mut db, names, report).await?;
    let runs = WriteBatch::runs(runs);
    let names = ["1,000 new runs", "1,000 changed runs", "1,000 unchanged runs"];
    runs.write::<RunObserved>(&mut db, names, report).await
}

/// Batches of random rows of a table.
pub(crate) struct WriteBatch {
    table: &'static str,
    /// SQL: the id of the row with number `n`.
    id_sql: &'static str,
    runs: i64,
}

/// Random rows of the whole history, as events with another end and as events of new entities: ids and JSON.
#[derive(sqlx::FromRow)]
pub(crate) struct BatchRows {
    pub ids: Vec<Uuid>,
    pub changed: String,
    pub new_ids: Vec<Uuid>,
    pub new: String,
}

impl WriteBatch {
    pub(crate) fn runs(runs: i64) -> Self {
        Self { table: "runs", id_sql: "md5('run' || n)::uuid", runs }
    }

    pub(crate) fn task_runs(runs: i64) -> Self {
        Self { table: "task_runs", id_sql: "md5('task' || 1 + n % 5 || '/' || n)::uuid", runs }
    }

    async fn write<E: StoredEntity>(
        &self,
        db: &mut PgConnection,
        [new, changed, unchanged]: [&'static str; 3],
        report: &mut SizeReport,
    ) -> anyhow::Result<()> {
        let mut times = [const { Vec::new() }; 3];
        for turn in 0..BATCHES {
            let rows = self.rows(db, turn).await?;
            times[0].push(apply::<E>(db, &rows.new_ids, Some(&rows.new)).await?);
            times[1].push(apply::<E>(db, &rows.ids, Some(&rows.changed)).await?);
            times[2].push(apply::<E>(db, &rows.ids, None).await?);
            sqlx::query(sqlx::AssertSqlSafe(format!("delete from {} where id = any($1)", self.table)))
                .bind(rows.new_ids)
                .execute(&mut *db)
                .await?;
        }
        for (name, times) in [new, changed, unchanged].into_iter().zip(times) {
            report.add(name, SizeUnit::Milliseconds, median(times));
        }
        Ok(())
    }

    pub(crate) async fn rows(&self, db: &mut PgConnection, turn: i64) -> anyhow::Result<BatchRows> {
        let Self { table, id_sql, runs } = self;
        let rows = format!(
            "with picked as (
                 select id, md5('new' || id)::uuid as new_id,
                     to_jsonb(t) || jsonb_build_object(
                         'version', 100000000 + $1, 'fingerprint', 'ab', 'deleted', false) as row
                 from {table} t
                 where t.id in (
                     select {id_sql}
                     from (select floor(random() * {runs})::bigint as n from generate_series(1, {BATCH})) x))
             select array_agg(id) as ids, json_agg(row || jsonb_build_object(
                     'ended_at', now(), 'duration_seconds', round(random() * 600)))::text as changed,
                 array_agg(new_id) as new_ids, json_agg(row || jsonb_build_object('id', new_id))::text as new
             from picked"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).bind(turn).fetch_one(db).await?)
    }
}

/// Reads the rows of the events, and writes them unless they are unchanged.
async fn apply<E: StoredEntity>(
    db: &mut PgConnection,
    ids: &[Uuid],
    rows: Option<&str>,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut tx = db.begin().await?;
    write_rows::<E>(&mut tx, ids, rows).await?;
    tx.commit().await?;
    Ok(started.elapsed())
}

pub(crate) async fn write_rows<E: StoredEntity>(
    db: &mut PgConnection,
    ids: &[Uuid],
    rows: Option<&str>,
) -> anyhow::Result<()> {
    sqlx::query(E::FIND_VERSIONS).bind(ids).fetch_all(&mut *db).await?;
    if let Some(rows) = rows {
        sqlx::query(E::UPSERT).bind(rows).execute(&mut *db).await?;
    }
    Ok(())
}

/// Measures reads as the API's handlers execute them.
async fn measure_reads(history: &LongHistory, runs: i64, report: &mut SizeReport) -> anyhow::Result<()> {
    measure_single_runs(history, runs, report).await?;
    measure_pages_of_runs(history, report).await?;
    measure_pages_of_pipelines(history, report).await
}

async fn measure_single_runs(
    history: &LongHistory,
    runs: i64,
    report: &mut SizeReport,
) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select md5('run' || floor(random() * $1 / 10000)::bigint * 10000
                 + floor(random() * 500)::bigint)::uuid
         from generate_series(1, $2)",
    )
    .bind(runs as f64)
    .bind(READS as i64)
    .fetch_all(db)
    .await?;
    let mut times = Vec::new();
    for id in ids {
        let started = Instant::now();
        runs::find_small(db, space, RunId(id), false).await?;
        times.push(started.elapsed());
    }
    report.add("a run with its task runs", SizeUnit::Milliseconds, median(times));
    Ok(())
}

async fn measure_pages_of_runs(history: &LongHistory, report: &mut SizeReport) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    let failed = RunFilter { status: vec![contract::state::RunState::Failed], ..RunFilter::default() };
    let deleted = RunFilter { include_deleted: true, ..RunFilter::default() };
    for (name, filter, page) in [
        ("the 50 newest runs of a space, with their total", RunFilter::default(), 1),
        ("… including deleted runs", deleted, 1),
        ("… the 1,000th page", RunFilter::default(), 1000),
        ("… only failed runs", failed, 1),
    ] {
        let query = RunQuery { filter, sort: None };
        let mut times = Vec::new();
        for _ in 0..READS / 10 {
            let started = Instant::now();
            let paging = Paging::new(query.order(), page, 50);
            runs::list(db, space, no_user(), &RunsOf::Space(&PipelineFilter::default()), &query, &paging)
                .await?;
            times.push(started.elapsed());
        }
        report.add(name, SizeUnit::Milliseconds, median(times));
    }
    Ok(())
}

async fn measure_pages_of_pipelines(history: &LongHistory, report: &mut SizeReport) -> anyhow::Result<()> {
    let (db, space) = (&history.db, SpaceId(history.space));
    for (name, days) in [("50 pipelines, metrics of 30 days", 30), ("50 pipelines, metrics of 365 days", 365)]
    {
        let query = PipelineQuery {
            health: Vec::new(),
            filter: PipelineFilter::default(),
            status: Vec::new(),
            sort: PipelineSort::Name,
            descending: false,
            view: PipelineView {
                window: MetricsWindow { days, include_deleted: false },
                ..PipelineView::default()
            },
        };
        let mut times = Vec::new();
        for _ in 0..READS / 10 {
            let started = Instant::now();
            let paging = Paging::new(query.order(), 1, 50);
            pipelines::list(db, space, no_user(), &query, &paging).await?;
            times.push(started.elapsed());
        }
        report.add(name, SizeUnit::Milliseconds, median(times));
    }
    Ok(())
}

#[derive(Parser)]
struct RetentionSettings {
    #[command(flatten)]
    retention: RetentionConfig,
}

/// Measures a pass of retention that deletes the oldest day's runs.
async fn measure_retention(history: &LongHistory, runs: i64, report: &mut SizeReport) -> anyhow::Result<()> {
    let oldest = "select extract(day from now() - min(ordered_at))::int8 from runs";
    let oldest: i64 = sqlx::query_scalar(oldest).fetch_one(&history.db).await?;
    let keep = ["bench", "--keep-runs", &oldest.to_string()];
    let settings = RetentionSettings::try_parse_from(keep)?.retention;
    retention::store_policy(&history.db, &settings).await?;
    sqlx::query("update retention set next_pass_at = now()").execute(&history.db).await?;
    let started = Instant::now();
    retention::run_due_pass(&history.db, u32::MAX, &Heartbeat::default(), &CancellationToken::new()).await?;
    let duration = started.elapsed();
    let remaining: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&history.db).await?;
    let deleted_rows = (runs - remaining) * (1 + TASKS_OF_A_RUN);
    anyhow::ensure!(deleted_rows > 0, "nothing was deleted");
    report.add(
        "removal of 1,000 rows beyond their retention period",
        SizeUnit::Milliseconds,
        duration.as_secs_f64() * 1e6 / deleted_rows as f64,
    );
    Ok(())
}

/// Measures vacuum, with the dead rows of the writes and of retention.
async fn measure_vacuum(history: &LongHistory, report: &mut SizeReport) -> anyhow::Result<()> {
    for (name, statement) in [
        ("vacuum of task_runs", "vacuum (index_cleanup on, analyze) task_runs"),
        ("vacuum of runs", "vacuum (index_cleanup on, analyze) runs"),
    ] {
        let started = Instant::now();
        history.run(&[statement.to_owned()]).await?;
        report.add(name, SizeUnit::Seconds, started.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn measure_sizes(db: &PgPool, report: &mut SizeReport) -> anyhow::Result<()> {
    for (name, relation) in [
        ("size of task_runs", "task_runs"),
        ("… primary key", "task_runs_pkey"),
        ("… index by run", "task_runs_run"),
        ("size of runs", "runs"),
        ("… primary key of runs", "runs_pkey"),
        ("… index by pipeline", "runs_pipeline_ordered"),
        ("… index by space", "runs_space_ordered"),
        ("… index for metrics", "runs_pipeline_counted"),
    ] {
        let bytes: i64 =
            sqlx::query_scalar("select pg_relation_size($1::regclass)").bind(relation).fetch_one(db).await?;
        report.add(name, SizeUnit::Megabytes, bytes as f64 / 1e6);
    }
    Ok(())
}

fn no_user() -> UserId {
    UserId(Uuid::nil())
}

/// The median in milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
