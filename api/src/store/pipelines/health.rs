//! The health of pipelines, which follows from the unresolved incidents: of the pipeline itself, and of its
//! connector. It is unknown while the connector is switched off.

use contract::ids::SpaceId;
use sqlx::{Postgres, QueryBuilder};

/// The health that unresolved incidents of a pipeline mean; null without one.
const OF_INCIDENTS: &str = "case when bool_or(i.kind = 'failing') then 'failing'
    when bool_or(i.kind in ('late_start', 'late_finish')) then 'late'
    when bool_or(i.kind = 'slow') then 'slow' end as health";

/// Adds the health of `p`, whose connector is `c`, as an expression. `status` is that of the latest run,
/// which may be `never_run`.
pub(super) fn push_health(sql: &mut QueryBuilder<Postgres>, status: &str) {
    sql.push(format_args!(
        "case when stale.connector_id is not null or not c.is_active or {status} = 'never_run' then 'unknown'
         else coalesce(ailing.health, 'ok') end"
    ));
}

/// Joins what [`push_health`] needs, for many pipelines of a space.
pub(super) fn push_incidents_of_space(sql: &mut QueryBuilder<Postgres>, space: SpaceId) {
    sql.push(format_args!(
        " left join (select i.pipeline_id, {OF_INCIDENTS} from incidents i where i.space_id = "
    ))
    .push_bind(space)
    .push(
        " and i.status <> 'resolved' and i.pipeline_id is not null group by i.pipeline_id
         ) ailing on ailing.pipeline_id = p.id
         left join (select i.connector_id from incidents i where i.space_id = ",
    )
    .push_bind(space)
    .push(
        " and i.status <> 'resolved' and i.kind = 'connector_stale'
         ) stale on stale.connector_id = p.connector_id",
    );
}

/// Joins what [`push_health`] needs, for few pipelines.
pub(super) fn push_incidents(sql: &mut QueryBuilder<Postgres>) {
    sql.push(format_args!(
        " cross join lateral (
             select {OF_INCIDENTS} from incidents i
             where coalesce(i.pipeline_id, i.connector_id) = p.id and i.status <> 'resolved') ailing
         left join lateral (
             select i.connector_id from incidents i
             where coalesce(i.pipeline_id, i.connector_id) = p.connector_id and i.kind = 'connector_stale'
                 and i.status <> 'resolved') stale on true"
    ));
}
