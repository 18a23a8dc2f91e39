//! The latest run of each pipeline of a space, by which a list is filtered and sorted. The worker stores it;
//! that of a pipeline with changes that the worker has not added yet is found among the runs.

use contract::ids::SpaceId;
use sqlx::{Postgres, QueryBuilder};

/// The status of the latest run of `p`.
pub(super) const LATEST_STATUS: &str =
    "coalesce(case when changed.pipeline_id is null then stored.latest_status else latest.status end,
        'never_run')";

/// The time that orders the latest run of `p`.
pub(super) const LATEST_AT: &str =
    "case when changed.pipeline_id is null then stored.latest_at else latest.ordered_at end";

/// Joins what [`LATEST_STATUS`] and [`LATEST_AT`] need.
pub(super) fn push_latest(sql: &mut QueryBuilder<Postgres>, space: SpaceId) {
    sql.push(" left join pipeline_metrics stored on stored.pipeline_id = p.id and stored.space_id = ")
        .push_bind(space)
        .push(" left join (select distinct pipeline_id from run_changes where space_id = ")
        .push_bind(space)
        .push(
            ") changed on changed.pipeline_id = p.id
             left join lateral (
                 select r.ordered_at, r.status from runs r
                 where changed.pipeline_id is not null and r.pipeline_id = p.id and r.deleted_at is null
                 order by r.ordered_at desc, r.id desc limit 1) latest on true",
        );
}
