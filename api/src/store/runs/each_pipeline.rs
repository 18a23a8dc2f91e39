//! The runs of some pipelines by their duration or their end, which no index by pipeline has as a key. Their
//! pipelines are read one after the other, so that a count ends at its limit. A run starts before it ends,
//! and hardly any takes longer than a day, so a range of ends bounds the starts, which an index has; the few
//! runs of which that is not true are read apart.

use contract::ids::{PipelineId, SpaceId};
use sqlx::{Postgres, QueryBuilder};

use super::RunFilter;

/// Runs that ended long after the time that counts them.
const LONG: &str = "select d.id from runs d where d.duration_seconds > 86000 and d.space_id = ";
/// Runs whose times are out of order. There are hardly any, but PostgreSQL expects many, so they are read
/// apart, from their partial index.
pub(super) const DISORDERED: &str = "select d.id from runs d
    where d.started_at < d.ordered_at or d.ended_at < d.started_at or d.ended_at < d.ordered_at";
/// Runs that ended without a start.
const NOT_STARTED: &str =
    "select d.id from runs d where d.started_at is null and d.ended_at is not null and d.space_id = ";

/// Adds `from` with the runs `r` of these pipelines that may have ended in the range of the filter, and
/// `where`. Because of the `offset` PostgreSQL looks up each pipeline.
pub(super) fn push_each_pipeline(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    pipelines: &[PipelineId],
    filter: &RunFilter,
) {
    sql.push(" from (select found.* from unnest(").push_bind(pipelines.to_vec());
    sql.push(") pipeline(id) cross join lateral (select * from runs where pipeline_id = pipeline.id and ");
    push_starts(sql, filter);
    sql.push(" offset 0) found");
    if filter.is_by_end() {
        push_exceptions(sql, space, pipelines, filter);
    }
    sql.push(") r where true");
}

/// Adds the runs whose start does not follow from their end.
fn push_exceptions(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    pipelines: &[PipelineId],
    filter: &RunFilter,
) {
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
    sql.push("))");
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
