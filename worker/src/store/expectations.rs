//! `expectations`, `expectation_classes` and `run_samples`: what the runs of a pipeline are expected to do,
//! and what that was learned from. The statements take the time as a parameter and look at nothing that ended
//! later, so that a backtest can execute them for a time in the past.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use contract::ids::PipelineId;
use sqlx::{PgConnection, PgExecutor};

/// What is expected of a run, by the class of its due time. Durations are in seconds.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Expectation {
    pub class: String,
    /// How many runs it was learned from.
    #[sqlx(rename = "runs")]
    pub learned_runs: i32,
    #[sqlx(rename = "duration_p50_seconds")]
    pub duration_p50: f64,
    #[sqlx(rename = "duration_p95_seconds")]
    pub duration_p95: f64,
    /// After its start.
    #[sqlx(rename = "slow_after_seconds")]
    pub slow_after: f64,
    /// After its due time.
    #[sqlx(rename = "start_p95_seconds")]
    pub start_p95: f64,
    /// After its due time.
    #[sqlx(rename = "finish_after_seconds")]
    pub finish_after: f64,
}

/// A pipeline whose runs have changed, and the revision of its metrics that says so.
#[derive(Clone, Copy, sqlx::FromRow)]
pub(crate) struct ChangedPipeline {
    pub pipeline_id: PipelineId,
    pub revision: i64,
    /// Whether it was learned before.
    pub is_known: bool,
}

/// Finds pipelines whose runs have changed since they were learned.
pub(crate) async fn find_changed(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<ChangedPipeline>> {
    sqlx::query_as(
        "select m.pipeline_id, m.revision, e.pipeline_id is not null as is_known
         from pipeline_metrics m join pipelines p on p.id = m.pipeline_id
         left join expectations e on e.pipeline_id = m.pipeline_id
         where e.revision is distinct from m.revision limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// How many of a pipeline's newest runs are looked at for samples.
#[derive(Clone, Copy)]
pub struct SampleBounds {
    pub since: DateTime<Utc>,
    /// Runs of all types.
    pub runs: i64,
    /// Runs that were scheduled or triggered by assets.
    pub samples: i64,
}

const SAMPLE: &str = "with recent as materialized (
         select r.*,
             lead(r.due_at) over (partition by r.pipeline_id order by r.due_at, r.id) as next_due_at,
             row_number() over (partition by r.pipeline_id order by r.due_at desc, r.id desc) as age
         from unnest($1::uuid[]) as changed (pipeline_id)
         cross join lateral (
             select r.id, r.pipeline_id, r.version, r.status, r.run_type, r.queued_at, r.started_at,
                 r.ended_at,
                 run_due_at(r.run_type, r.run_after, r.data_interval_end, r.queued_at, r.ordered_at)
                     as due_at
             from runs r
             where r.pipeline_id = changed.pipeline_id and r.deleted_at is null and r.ordered_at >= $2
             order by r.ordered_at desc, r.id desc limit $3) r
         where r.run_type in ('scheduled', 'asset_triggered'))
     insert into run_samples as s (
         run_id, pipeline_id, version, due_at, started_at, ended_at, is_regular, is_flagged)
     select r.id, r.pipeline_id, r.version, r.due_at, r.started_at, r.ended_at,
         r.status = 'success' and coalesce(coalesce(r.queued_at, r.started_at) < r.next_due_at, true)
             and not coalesce(
                 r.due_at < resumed_at and r.started_at > resumed_at - interval '1 hour', false)
             and not exists (
                 select from task_runs t where t.run_id = r.id and t.deleted_at is null
                     and t.started_at < coalesce(r.queued_at, r.started_at) - interval '1 minute'),
         exists (
             select from signals where signals.pipeline_id = r.pipeline_id and occurrence in (
                 r.id::text, (extract(epoch from r.due_at) * 1000000)::bigint::text))
     from recent r left join run_samples known on known.run_id = r.id
     left join pipeline_resumptions resumed on resumed.pipeline_id = r.pipeline_id
     where r.status in ('success', 'failed') and r.started_at is not null
         and r.ended_at >= r.started_at and r.age <= $4
         and (known.version is distinct from r.version or r.age <= 2)
     on conflict (run_id) do update set version = excluded.version, due_at = excluded.due_at,
         started_at = excluded.started_at, ended_at = excluded.ended_at,
         is_regular = s.is_regular and excluded.is_regular and s.ended_at >= excluded.started_at
     where s.version <> excluded.version or s.is_regular and not excluded.is_regular
     returning s.pipeline_id";

/// Takes samples of finished runs that have none, or have changed since; returns the pipelines that have new
/// ones. Regular are successful runs without these:
/// - one that was created when the next one was due already, or that was due before its pipeline was resumed:
///   the scheduler was catching up;
/// - one that was cleared: it had finished before it started, or one of its tasks had started before it was
///   queued. A task that was retried makes a run no less regular.
///
/// The tasks of a run may be stored a little later, so the two newest runs are looked at again.
pub async fn sample(
    db: impl PgExecutor<'_>,
    pipelines: &[PipelineId],
    bounds: SampleBounds,
) -> sqlx::Result<HashSet<PipelineId>> {
    let sampled: Vec<PipelineId> = sqlx::query_scalar(SAMPLE)
        .bind(pipelines)
        .bind(bounds.since)
        .bind(bounds.runs)
        .bind(bounds.samples)
        .fetch_all(db)
        .await?;
    Ok(sampled.into_iter().collect())
}

/// Accepts a change of regime: where the five newest regular runs were all flagged, they count as usual from
/// now on, and what is older than 14 days does not count any more.
pub async fn accept_regimes(
    db: impl PgExecutor<'_>,
    pipelines: &[PipelineId],
    at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let accepted = sqlx::query(
        "with regimes as materialized (
             select changed.pipeline_id from unnest($1::uuid[]) as changed (pipeline_id)
             where 5 = (
                 select count(*) filter (where is_flagged) from (
                     select s.is_flagged from run_samples s
                     where s.pipeline_id = changed.pipeline_id and s.is_regular and s.ended_at <= $2
                     order by s.due_at desc, s.run_id desc limit 5) newest))
         update run_samples s set is_flagged = false,
             is_regular = s.is_regular and s.due_at >= $2 - interval '14 days'
         from regimes where s.pipeline_id = regimes.pipeline_id and s.ended_at <= $2",
    )
    .bind(pipelines)
    .bind(at)
    .execute(db)
    .await?;
    Ok(accepted.rows_affected())
}

/// Replaces the expectations of pipelines by what their runs until this time teach: regular ones that were
/// not flagged, of 42 days, 200 at most in a class; for each class that has 8 of them.
pub async fn learn(db: &mut PgConnection, pipelines: &[PipelineId], at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("delete from expectation_classes where pipeline_id = any($1)")
        .bind(pipelines)
        .execute(&mut *db)
        .await?;
    sqlx::query(LEARN).bind(pipelines).bind(at).execute(db).await?;
    Ok(())
}

/// A run is slow when it takes longer than each of four limits: a quarter above its 95th percentile, 3.5
/// standard deviations above its median (estimated by the median absolute deviation), a minute above its
/// median, and a quarter above the 95th percentile of the ratios of the pipeline's 200 newest runs to the
/// medians of their classes. A class may have as few as 8 runs, which may miss a duration that is rare, and a
/// trend; the ratios of all classes together have both. The margin of its end is the same, from its due time.
const LEARN: &str = "
    with trained as materialized (
        select e.pipeline_id, e.zone, s.* from unnest($1::uuid[]) as changed (id)
        join expectations e on e.pipeline_id = changed.id
        cross join lateral (
            select s.run_id, s.due_at, extract(epoch from s.ended_at - s.started_at)::float8 as duration,
                extract(epoch from s.started_at - s.due_at)::float8 as start,
                extract(epoch from s.ended_at - s.due_at)::float8 as finish,
                row_number() over (order by s.due_at desc, s.run_id desc) as recency
            from run_samples s
            where s.pipeline_id = changed.id and s.is_regular and not s.is_flagged and s.ended_at <= $2
                and s.due_at >= $2 - interval '42 days'
            order by s.due_at desc, s.run_id desc limit 1200) s
    ), classed as materialized (
        select * from (
            select t.pipeline_id, t.run_id, t.recency, k.class, k.class_key, k.fineness, t.duration,
                t.start, t.finish,
                row_number() over (
                    partition by t.pipeline_id, k.class, k.class_key order by t.due_at desc) as age
            from trained t cross join lateral expectation_class_keys(t.due_at, t.zone) k) t
        where age <= 200
    ), centers as materialized (
        select pipeline_id, class, class_key, count(*)::int as runs,
            percentile_cont(array[0.5, 0.95]) within group (order by duration) as durations,
            percentile_cont(array[0.5, 0.95]) within group (order by finish) as finishes,
            percentile_cont(0.95) within group (order by start) as start_p95
        from classed group by 1, 2, 3 having count(*) >= 8
    ), ratios as (
        select pipeline_id,
            percentile_cont(0.95) within group (order by duration / greatest(durations[1], 1))
                as duration_p95,
            percentile_cont(0.95) within group (order by finish / greatest(finishes[1], 1)) as finish_p95
        from (
            select distinct on (c.pipeline_id, c.run_id)
                c.pipeline_id, c.duration, c.finish, m.durations, m.finishes
            from classed c join centers m using (pipeline_id, class, class_key)
            where c.recency <= 200 order by c.pipeline_id, c.run_id, c.fineness) newest
        group by 1
    ), spreads as (
        select pipeline_id, class, class_key,
            percentile_cont(0.5) within group (order by abs(duration - durations[1])) as duration_mad,
            percentile_cont(0.5) within group (order by abs(finish - finishes[1])) as finish_mad
        from classed join centers using (pipeline_id, class, class_key) group by 1, 2, 3
    )
    insert into expectation_classes (
        pipeline_id, class, class_key, runs, duration_p50_seconds, duration_p95_seconds, slow_after_seconds,
        start_p95_seconds, finish_after_seconds)
    select pipeline_id, class, class_key, runs, durations[1], durations[2],
        greatest(
            1.25 * durations[2], durations[1] + 3.5 * 1.4826 * duration_mad, durations[1] + 60,
            1.25 * ratios.duration_p95 * durations[1]),
        greatest(start_p95, 0),
        greatest(
            finishes[2] + 0.25 * durations[2], finishes[1] + 3.5 * 1.4826 * finish_mad, finishes[2] + 60,
            ratios.finish_p95 * finishes[1] + 0.25 * ratios.duration_p95 * durations[1])
    from centers join spreads using (pipeline_id, class, class_key) join ratios using (pipeline_id)";

/// Stores what the finished runs of pipelines say beside their expectations: how often the latest ones failed
/// in a row, up to 100, and whether the latest one was slow.
pub(crate) async fn upsert(db: impl PgExecutor<'_>, changed: &[ChangedPipeline]) -> sqlx::Result<()> {
    sqlx::query(UPSERT)
        .bind(changed.iter().map(|changed| changed.pipeline_id).collect::<Vec<_>>())
        .bind(changed.iter().map(|changed| changed.revision).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

const UPSERT: &str = "
    insert into expectations as e (
        pipeline_id, space_id, zone, revision, failures, failed_run_id, failed_at, first_failed_run_id,
        first_failed_at, slow_run_id)
    select p.id, p.space_id,
        case when coalesce(p.provider_metadata->>'timezone', 'UTC') = 'UTC' then 'UTC'
            when p.provider_metadata->>'timezone' in (select name from pg_timezone_names)
            then p.provider_metadata->>'timezone' else 'UTC' end,
        changed.revision, coalesce(array_length(failed.runs, 1), 0), failed.runs[1], failed.ends[1],
        failed.runs[array_length(failed.runs, 1)], failed.ends[array_length(failed.ends, 1)], slow.id
    from unnest($1::uuid[], $2::bigint[]) as changed (pipeline_id, revision)
    join pipelines p on p.id = changed.pipeline_id
    cross join lateral (
        select array_agg(id order by n) as runs, array_agg(coalesce(ended_at, observed_at) order by n) as ends
        from (
            select *, bool_and(status = 'failed') over (order by n) as is_streak from (
                select r.id, r.status, r.ended_at, r.observed_at,
                    row_number() over (order by r.ordered_at desc, r.id desc) as n
                from runs r
                where r.pipeline_id = p.id and r.deleted_at is null and r.status in ('success', 'failed')
                order by r.ordered_at desc, r.id desc limit 100) finished) streak
        where is_streak) failed
    left join lateral (
        select latest.id from (
            select r.id from runs r
            where r.pipeline_id = p.id and r.deleted_at is null and r.status in ('success', 'failed')
                and r.run_type in ('scheduled', 'asset_triggered')
            order by r.ordered_at desc, r.id desc limit 1) latest
        join signals on signals.pipeline_id = p.id and kind = 'slow' and occurrence = latest.id::text
        left join run_samples s on s.run_id = latest.id
        where coalesce(s.is_flagged, true)) slow on true
    on conflict (pipeline_id) do update set space_id = excluded.space_id, zone = excluded.zone,
        revision = excluded.revision, failures = excluded.failures, failed_run_id = excluded.failed_run_id,
        failed_at = excluded.failed_at, first_failed_run_id = excluded.first_failed_run_id,
        first_failed_at = excluded.first_failed_at, slow_run_id = excluded.slow_run_id";

/// Deletes samples of these pipelines that are older than 43 days, or have this many newer ones.
pub(crate) async fn delete_old_samples(
    db: impl PgExecutor<'_>,
    pipelines: &[PipelineId],
    kept: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from run_samples s using unnest($1::uuid[]) as changed (pipeline_id)
         where s.pipeline_id = changed.pipeline_id and s.due_at < greatest(now() - interval '43 days', (
             select due_at from run_samples newer where newer.pipeline_id = changed.pipeline_id
             order by due_at desc, run_id desc offset $2 limit 1))",
    )
    .bind(pipelines)
    .bind(kept)
    .execute(db)
    .await?;
    Ok(())
}
