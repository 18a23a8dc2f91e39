//! The runs of some pipelines that ended in a range of time. No index by pipeline has the end of runs. But a
//! run starts before it ends, and hardly any takes longer than a day, so the range bounds the starts, which
//! an index has; the few runs of which that is not true are read apart.

use contract::ids::{PipelineId, SpaceId};
use sqlx::{Postgres, QueryBuilder};

use super::RunFilter;

/// Runs that ended long after the time that counts them.
const LONG: &str = "select d.id from runs d where d.duration_seconds > 86000 and d.space_id = ";
/// Runs that ended before the time that counts them. There are hardly any.
const DISORDERED: &str = "select d.id from runs d
    where d.started_at < d.ordered_at or d.ended_at < d.started_at or d.ended_at < d.ordered_at";
/// Runs that ended without a start.
const NOT_STARTED: &str =
    "select d.id from runs d where d.started_at is null and d.ended_at is not null and d.space_id = ";

/// Adds `from` with the runs `r` of these pipelines that may have ended in the range of the filter, and
/// `where`.
pub(super) fn push_ended(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    pipelines: &[PipelineId],
    filter: &RunFilter,
) {
    sql.push(" from (select * from runs where pipeline_id = any(").push_bind(pipelines.to_vec());
    sql.push(") and ");
    push_starts(sql, filter);
    sql.push(" union all select * from runs where pipeline_id = any(").push_bind(pipelines.to_vec());
    sql.push(") and not (");
    push_starts(sql, filter);
    sql.push(") and id = any(array(").push(NOT_STARTED).push_bind(space);
    if filter.ended_from.is_some() {
        sql.push(" union all ").push(LONG).push_bind(space);
    }
    if filter.ended_to.is_some() {
        sql.push(" union all ").push(DISORDERED);
    }
    sql.push("))) r where true");
}

/// Adds the condition on the starts as an expression.
fn push_starts(sql: &mut QueryBuilder<Postgres>, filter: &RunFilter) {
    sql.push("true");
    if let Some(time) = filter.ended_from {
        sql.push(" and counted_at >= ").push_bind(time).push(" - interval '24 hours'");
    }
    if let Some(time) = filter.ended_to {
        sql.push(" and counted_at < ").push_bind(time);
    }
}
