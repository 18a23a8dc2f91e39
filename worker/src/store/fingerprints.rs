//! The fingerprints of entities in the read model, by which unchanged entities are not published again.

use sqlx::PgExecutor;
use uuid::Uuid;

/// A table with fingerprints.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EntityTable {
    Pipelines,
    Runs,
    TaskRuns,
}

impl EntityTable {
    pub(crate) const ALL: [Self; 3] = [Self::Pipelines, Self::Runs, Self::TaskRuns];

    fn forget_sql(self) -> &'static str {
        match self {
            Self::Pipelines => {
                "with part as materialized (
                     select id from pipelines where id > $1 order by id limit $2 for update),
                 forgotten as (
                     update pipelines set fingerprint = '' where id = any(array(select id from part)))
                 select id, count(*) over () from part order by id desc limit 1"
            }
            Self::Runs => {
                "with part as materialized (
                     select id from runs where id > $1 order by id limit $2 for update),
                 forgotten as (
                     update runs set fingerprint = '' where id = any(array(select id from part)))
                 select id, count(*) over () from part order by id desc limit 1"
            }
            Self::TaskRuns => {
                "with part as materialized (
                     select id from task_runs where id > $1 order by id limit $2 for update),
                 forgotten as (
                     update task_runs set fingerprint = '' where id = any(array(select id from part)))
                 select id, count(*) over () from part order by id desc limit 1"
            }
        }
    }
}

/// Forgets the fingerprints of the next rows after this id, up to `limit`. Returns the last id and the number
/// of rows, or none at the end.
pub(crate) async fn forget(
    db: impl PgExecutor<'_>,
    table: EntityTable,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Option<(Uuid, i64)>> {
    sqlx::query_as(table.forget_sql()).bind(after).bind(limit).fetch_optional(db).await
}
