//! The tables of a backtest, with the names of the live ones, in a schema of their own, which one
//! session searches first. So a backtest executes the statements that learn live, and changes no live row.

use chrono::{DateTime, Utc};
use contract::ids::{PipelineId, RunId};
use sqlx::PgConnection;

use super::expectations::{self, ChangedPipeline, Expectation, SampleBounds};

/// Takes the lock of backtests until the end of the session; false while another session holds it.
pub(crate) async fn try_begin(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock(hashtext('backtest'))").fetch_one(db).await
}

/// Creates the tables. This session finds them before the live ones from now on.
pub(crate) async fn create_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "drop schema if exists backtest cascade;
         create schema backtest;
         create unlogged table backtest.run_samples (like public.run_samples including all);
         create unlogged table backtest.expectations (like public.expectations including all);
         create unlogged table backtest.expectation_classes (like public.expectation_classes including all);
         create unlogged table backtest.signals (like public.signals including all);
         set search_path = backtest, public",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Drops the tables.
pub(crate) async fn drop_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("drop schema backtest cascade").execute(db).await?;
    Ok(())
}

/// A pipeline to replay.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReplayedPipeline {
    pub id: PipelineId,
    pub name: String,
}

/// Finds the active pipelines that have runs since this time.
pub(crate) async fn find_pipelines(
    db: &mut PgConnection,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<ReplayedPipeline>> {
    sqlx::query_as(
        "select p.id, p.name from pipelines p
         where p.is_active and p.deleted_at is null and exists (
             select from runs r where r.pipeline_id = p.id and r.ordered_at >= $1 and r.deleted_at is null)
         order by lower(p.name), p.id limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Takes samples of all finished runs of a pipeline since this time, as if none had been slow.
pub(crate) async fn load(
    db: &mut PgConnection,
    pipeline: PipelineId,
    since: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::raw_sql("truncate run_samples, expectations, expectation_classes").execute(&mut *db).await?;
    let bounds = SampleBounds { since, runs: i64::from(i32::MAX), samples: i64::from(i32::MAX) };
    expectations::sample(&mut *db, &[pipeline], bounds).await?;
    expectations::upsert(&mut *db, &[ChangedPipeline { pipeline_id: pipeline, revision: 0, is_known: false }])
        .await
}

/// A run of the past.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct PastRun {
    pub run_id: RunId,
    pub due_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    /// Whether its due time counts, unlike that of a run that was triggered by assets, or cleared.
    pub is_due: bool,
}

/// Lists the loaded runs of a pipeline that were due at or after this time, by their start.
pub(crate) async fn list_runs(
    db: &mut PgConnection,
    pipeline: PipelineId,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<PastRun>> {
    sqlx::query_as(
        "select s.run_id, s.due_at, s.started_at, s.ended_at,
             coalesce(r.run_type = 'scheduled', true) and not exists (
                 select from task_runs t where t.run_id = s.run_id and t.deleted_at is null
                     and t.started_at < coalesce(r.queued_at, r.started_at) - interval '1 minute') as is_due
         from run_samples s left join runs r on r.id = s.run_id
         where s.pipeline_id = $1 and s.due_at >= $2 order by s.started_at, s.run_id",
    )
    .bind(pipeline)
    .bind(from)
    .fetch_all(db)
    .await
}

/// Finds what was expected of a run that was due at this time.
pub(crate) async fn find_expectation(
    db: &mut PgConnection,
    pipeline: PipelineId,
    due_at: DateTime<Utc>,
) -> sqlx::Result<Option<Expectation>> {
    sqlx::query_as(
        "select class, runs, duration_p50_seconds, duration_p95_seconds, slow_after_seconds,
             start_p95_seconds, finish_after_seconds
         from expectation_at($1, $2)",
    )
    .bind(pipeline)
    .bind(due_at)
    .fetch_optional(db)
    .await
}

/// Marks a run as slow or late.
pub(crate) async fn flag(db: &mut PgConnection, run: RunId) -> sqlx::Result<()> {
    sqlx::query("update run_samples set is_flagged = true where run_id = $1").bind(run).execute(db).await?;
    Ok(())
}

/// Counts how often a pipeline began to fail since this time.
pub(crate) async fn count_failures(
    db: &mut PgConnection,
    pipeline: PipelineId,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from (
             select status, lag(status) over (order by ordered_at, id) as before from runs
             where pipeline_id = $1 and ordered_at >= $2 and deleted_at is null
                 and status in ('success', 'failed')) finished
         where status = 'failed' and before is distinct from 'failed'",
    )
    .bind(pipeline)
    .bind(since)
    .fetch_one(db)
    .await
}
