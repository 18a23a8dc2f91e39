//! `incomplete_runs`: runs whose task runs a later poll reads.

use contract::ids::ConnectorId;
use sqlx::PgExecutor;

use super::runs::RunExternalIds;

/// Inserts runs, unless they are there already.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    runs: &[RunExternalIds],
) -> sqlx::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let (pipelines, runs) = names(runs);
    sqlx::query(
        "insert into incomplete_runs (connector_id, pipeline_external_id, external_id)
         select $1, * from unnest($2::text[], $3::text[]) on conflict do nothing",
    )
    .bind(connector)
    .bind(pipelines)
    .bind(runs)
    .execute(db)
    .await?;
    Ok(())
}

/// Finds the runs that have waited longest.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    limit: i64,
) -> sqlx::Result<Vec<RunExternalIds>> {
    sqlx::query_as(
        "select pipeline_external_id as pipeline, external_id as run from incomplete_runs
         where connector_id = $1 order by inserted_at limit $2",
    )
    .bind(connector)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Deletes runs that were read.
pub(crate) async fn delete(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    runs: &[RunExternalIds],
) -> sqlx::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let (pipelines, runs) = names(runs);
    sqlx::query(
        "delete from incomplete_runs where connector_id = $1 and (pipeline_external_id, external_id) in
             (select * from unnest($2::text[], $3::text[]))",
    )
    .bind(connector)
    .bind(pipelines)
    .bind(runs)
    .execute(db)
    .await?;
    Ok(())
}

fn names(runs: &[RunExternalIds]) -> (Vec<&str>, Vec<&str>) {
    runs.iter().map(|run| (run.pipeline.as_str(), run.run.as_str())).unzip()
}
