//! The metrics that pipelines are shown with.

use contract::ids::{PipelineId, SpaceId};
use platform::pipeline_metrics;
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::MetricsWindow;

/// The condition that the stored metrics `k` of a pipeline are valid: the window has not moved away from the
/// oldest run, and no run has changed since they were computed.
const IS_VALID: &str = "k.counted_revision = k.revision and k.valid_until >= now()
    and not exists (select from run_changes where run_changes.pipeline_id = k.pipeline_id)";

impl MetricsWindow {
    /// Returns whether the metrics of this window are stored.
    fn is_stored(self) -> bool {
        !self.include_deleted && self.days == pipeline_metrics::WINDOW_DAYS
    }
}

/// Returns whether a single pipeline is read at once: its metrics are stored, or those of few runs, and what
/// the provider says of it is small.
pub async fn is_cheap(
    db: &PgPool,
    space: SpaceId,
    pipeline: PipelineId,
    window: MetricsWindow,
) -> sqlx::Result<bool> {
    let mut sql = QueryBuilder::new(
        "select coalesce(pg_column_size(p.provider_metadata) + pg_column_size(p.tasks), 0) <= 65536 and (",
    );
    if window.is_stored() {
        sql.push(format_args!(
            "exists (select from pipeline_metrics k where k.pipeline_id = p.id and {IS_VALID}) or "
        ));
    }
    sql.push(
        "(select count(*) from (
             select from runs r where r.pipeline_id = p.id and r.counted_at >= now() - ",
    )
    .push_bind(window.days)
    .push(" * interval '24 hours' limit 1001) counted) <= 1000) from pipelines p where p.id = ")
    .push_bind(pipeline)
    .push(" and p.space_id = ")
    .push_bind(space);
    sql.build_query_scalar().fetch_optional(db).await.map(|is_cheap| is_cheap.unwrap_or(true))
}

/// Joins the metrics of `p` as `m`: the stored ones while they are valid, else counted now. The `limit` makes
/// PostgreSQL look the stored ones up one by one, instead of reading those of all spaces.
pub(super) fn push_metrics(sql: &mut QueryBuilder<Postgres>, window: MetricsWindow) {
    if !window.is_stored() {
        sql.push(" cross join lateral ");
        push_counted(sql, window);
        sql.push(" m");
        return;
    }
    sql.push(format_args!(
        " left join lateral (
             select * from pipeline_metrics k where k.pipeline_id = p.id and {IS_VALID} limit 1
         ) stored on true
         cross join lateral (
             select stored.run_count, stored.success_count, stored.failed_count, stored.running_count,
                 stored.queued_count, stored.avg_duration_seconds, stored.percentiles, stored.last_success_at,
                 stored.last_failure_at
             where stored.pipeline_id is not null
             union all
             select counted.run_count, counted.success_count, counted.failed_count, counted.running_count,
                 counted.queued_count, counted.avg_duration_seconds, counted.percentiles,
                 counted.last_success_at, counted.last_failure_at from "
    ));
    push_counted(sql, window);
    sql.push(" counted where stored.pipeline_id is null) m");
}

fn push_counted(sql: &mut QueryBuilder<Postgres>, window: MetricsWindow) {
    sql.push("run_metrics(p.id, now() - ").push_bind(window.days).push(" * interval '24 hours', ");
    sql.push_bind(window.include_deleted).push(")");
}
