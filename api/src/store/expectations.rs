//! What is expected of pipelines and runs. The worker learns it; the functions of migration 0061 find the
//! class of a due time.

use chrono::{DateTime, Utc};
use contract::ids::{RunId, SpaceId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use utoipa::ToSchema;

/// What the runs of a pipeline are expected to do, learned from those of the last 42 days.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Expectation)]
pub struct PipelineExpectation {
    /// The runs that it was learned from, compared with the next one: those of the same `hour_of_week`, of
    /// the same hour on working days or weekends (`day_kind_hour`), of the same kind of day (`day_kind`), or
    /// `all`; null while there are too few.
    pub class: Option<String>,
    /// How many runs it was learned from.
    pub runs: i64,
    pub duration_p50_seconds: Option<f64>,
    pub duration_p95_seconds: Option<f64>,
    /// A run that takes longer is slow.
    pub slow_after_seconds: Option<f64>,
    /// Null without a next run.
    pub next: Option<ExpectedNextRun>,
    /// Whether fewer than 8 runs are known, so that nothing is signalled.
    pub learning: bool,
}

/// When the next run is expected. It is late once a poll has seen that it has not started or ended by then.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExpectedNextRun {
    pub due_at: DateTime<Utc>,
    pub start_by: DateTime<Utc>,
    pub finish_by: DateTime<Utc>,
}

/// What a run was expected to do.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct ExpectedRun {
    /// The median of comparable runs.
    pub duration_seconds: f64,
    /// A run that takes longer is slow.
    pub slow_after_seconds: f64,
    /// Null for a run that was not scheduled.
    pub finish_by: Option<DateTime<Utc>>,
}

/// The expectation of the pipeline `p`, as a column.
pub(super) const OF_PIPELINE: &str = "(
    select jsonb_build_object('class', e.class,
        'runs', coalesce(e.runs, (
            select count(*) from run_samples s
            where s.pipeline_id = p.id and s.is_regular and not s.is_flagged)),
        'duration_p50_seconds', e.duration_p50_seconds, 'duration_p95_seconds', e.duration_p95_seconds,
        'slow_after_seconds', e.slow_after_seconds,
        'next', case when e.class is not null and p.next_run_at is not null then jsonb_build_object(
            'due_at', p.next_run_at,
            'start_by', p.next_run_at + make_interval(secs => e.start_p95_seconds),
            'finish_by', p.next_run_at + make_interval(secs => e.finish_after_seconds)) end,
        'learning', e.class is null)
    from (select) here
    left join expectation_at(p.id, coalesce(p.next_run_at, now())) e on true) as expectation";

/// Finds what is expected of a run; none while its pipeline is being learned.
pub async fn find_of_run(db: &PgPool, space: SpaceId, run: RunId) -> sqlx::Result<Option<ExpectedRun>> {
    sqlx::query_as(
        "select e.duration_p50_seconds as duration_seconds, e.slow_after_seconds,
             case when r.run_type = 'scheduled'
                 then due.at + make_interval(secs => e.finish_after_seconds) end as finish_by
         from runs r
         cross join lateral (
             select run_due_at(r.run_type, r.run_after, r.data_interval_end, r.queued_at, r.ordered_at) as at
         ) due
         cross join lateral expectation_at(r.pipeline_id, due.at) e
         where r.id = $1 and r.space_id = $2",
    )
    .bind(run)
    .bind(space)
    .fetch_optional(db)
    .await
}
