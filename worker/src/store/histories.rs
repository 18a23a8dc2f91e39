//! `pipeline_crawls`: the time at which the history of each pipeline was read, its consecutive failures, the
//! number of listings in which the pipeline was missing, and its deactivations.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, PipelineId};
use sqlx::{PgConnection, PgExecutor};

use super::connector_state::Lease;

/// The back-off after this many consecutive failures, in SQL.
macro_rules! backoff {
    ($failures:literal) => {
        concat!("least(interval '6 hours', interval '1 minute' * 2 ^ least(", $failures, " - 1, 10))")
    };
}

/// Returns the time at which each history of at least this many days was last read, by the pipeline's
/// external id.
pub(crate) async fn find_read(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    days: i32,
) -> sqlx::Result<BTreeMap<String, DateTime<Utc>>> {
    let read: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "select external_id, crawled_at from pipeline_crawls
         where connector_id = $1 and history_days >= $2 and crawled_at is not null",
    )
    .bind(connector)
    .bind(days)
    .fetch_all(db)
    .await?;
    Ok(read.into_iter().collect())
}

/// Pipelines in back-off: returns the time of the last attempt to read each history that could not be read
/// and is not to be tried again yet, by the pipeline's external id. The back-off grows with each consecutive
/// failure.
pub(crate) async fn find_in_backoff(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
) -> sqlx::Result<BTreeMap<String, DateTime<Utc>>> {
    let in_backoff: Vec<(String, DateTime<Utc>)> = sqlx::query_as(concat!(
        "select external_id, tried_at from pipeline_crawls
             where connector_id = $1 and failures > 0 and tried_at + ",
        backoff!("failures"),
        " > now()"
    ))
    .bind(connector)
    .fetch_all(db)
    .await?;
    Ok(in_backoff.into_iter().collect())
}

/// Counts a failure to read a pipeline's history, or to find out whether the pipeline exists; returns the
/// number of consecutive failures.
pub(crate) async fn count_failure(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipeline: &str,
) -> sqlx::Result<i32> {
    sqlx::query_scalar(
        "insert into pipeline_crawls (connector_id, external_id, failures, tried_at) values ($1, $2, 1, now())
         on conflict (connector_id, external_id) do update
             set failures = pipeline_crawls.failures + 1, tried_at = excluded.tried_at
         returning failures",
    )
    .bind(connector)
    .bind(pipeline)
    .fetch_one(db)
    .await
}

/// Pipelines in back-off: returns the time of the last attempt to read each task graph that could not be read
/// and is not to be tried again yet.
pub(crate) async fn find_graphs_in_backoff(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
) -> sqlx::Result<BTreeMap<String, DateTime<Utc>>> {
    let in_backoff: Vec<(String, DateTime<Utc>)> = sqlx::query_as(concat!(
        "select external_id, graph_tried_at from pipeline_crawls
         where connector_id = $1 and graph_failures > 0 and graph_tried_at + ",
        backoff!("graph_failures"),
        " > now()"
    ))
    .bind(connector)
    .fetch_all(db)
    .await?;
    Ok(in_backoff.into_iter().collect())
}

/// Counts a failure to read the task graph of a pipeline.
pub(crate) async fn count_graph_failure(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipeline: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pipeline_crawls (connector_id, external_id, graph_failures, graph_tried_at)
         values ($1, $2, 1, now())
         on conflict (connector_id, external_id) do update
             set graph_failures = pipeline_crawls.graph_failures + 1,
                 graph_tried_at = excluded.graph_tried_at",
    )
    .bind(connector)
    .bind(pipeline)
    .execute(db)
    .await?;
    Ok(())
}

/// Resets the count of pipelines whose task graphs were read.
pub(crate) async fn reset_graph_failures(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipelines: &[&String],
) -> sqlx::Result<()> {
    sqlx::query(
        "update pipeline_crawls set graph_failures = 0, graph_tried_at = null
         where connector_id = $1 and external_id = any($2) and graph_failures > 0",
    )
    .bind(connector)
    .bind(pipelines)
    .execute(db)
    .await?;
    Ok(())
}

/// Marks the history of a pipeline as read; false when the lease is lost.
pub(crate) async fn mark_read(
    db: impl PgExecutor<'_>,
    lease: Lease,
    pipeline: &str,
    started_at: DateTime<Utc>,
    days: i32,
) -> sqlx::Result<bool> {
    let recorded = sqlx::query(
        "insert into pipeline_crawls (connector_id, external_id, crawled_at, history_days)
         select connector_id, $3, $4, $5 from connector_state where connector_id = $1 and lease_epoch = $2
         on conflict (connector_id, external_id) do update
             set crawled_at = excluded.crawled_at, history_days = excluded.history_days, failures = 0,
                 tried_at = null",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(pipeline)
    .bind(started_at)
    .bind(days)
    .execute(db)
    .await?;
    Ok(recorded.rows_affected() == 1)
}

/// Makes the histories of these pipelines due, by their external ids.
pub(crate) async fn mark_unread(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipelines: &[&String],
) -> sqlx::Result<()> {
    sqlx::query(
        "update pipeline_crawls set crawled_at = null where connector_id = $1 and external_id = any($2)",
    )
    .bind(connector)
    .bind(pipelines)
    .execute(db)
    .await?;
    Ok(())
}

/// Makes the history of a pipeline due.
pub(crate) async fn mark_pipeline_unread(db: impl PgExecutor<'_>, pipeline: PipelineId) -> sqlx::Result<()> {
    sqlx::query(
        "update pipeline_crawls c set crawled_at = null from pipelines p
         where p.id = $1 and c.connector_id = p.connector_id and c.external_id = p.external_id",
    )
    .bind(pipeline)
    .execute(db)
    .await?;
    Ok(())
}

/// Makes the histories of more than this many days due, because a longer retention allows more.
pub(crate) async fn mark_longer_than_unread(db: &mut PgConnection, days: i32) -> sqlx::Result<()> {
    sqlx::query("update pipeline_crawls set history_days = 0 where history_days > $1")
        .bind(days)
        .execute(db)
        .await?;
    Ok(())
}

/// Resets the count of missed listings of all pipelines but these.
pub(crate) async fn reset_missed_listings(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    missing: &[&String],
) -> sqlx::Result<()> {
    sqlx::query(
        "update pipeline_crawls set absences = 0, failures = 0, tried_at = null
         where connector_id = $1 and absences > 0 and external_id <> all($2)",
    )
    .bind(connector)
    .bind(missing)
    .execute(db)
    .await?;
    Ok(())
}

/// Counts a missed listing of each of these pipelines and returns the pipelines with at least `limit`
/// consecutive missed listings, the ones without failures first.
pub(crate) async fn count_missed_listing(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    missing: &[&String],
    limit: i32,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "with counted as (
             insert into pipeline_crawls (connector_id, external_id, absences)
             select $1, unnest($2::text[]), 1
             on conflict (connector_id, external_id) do update set absences = pipeline_crawls.absences + 1
             returning external_id, absences, failures)
         select external_id from counted where absences >= $3 order by failures, absences, external_id",
    )
    .bind(connector)
    .bind(missing)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// How often and when a pipeline was deactivated.
#[derive(sqlx::FromRow)]
pub(crate) struct Deactivations {
    pub external_id: String,
    pub deactivations: i32,
    pub deactivated_at: Option<DateTime<Utc>>,
    /// Since when it is kept active although it is gone.
    pub kept_active_since: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

/// Finds the deactivations of each of these pipelines, also of those that have never been deactivated.
pub(crate) async fn find_deactivations(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipelines: &[String],
) -> sqlx::Result<Vec<Deactivations>> {
    sqlx::query_as(
        "select pipeline.external_id, coalesce(deactivations, 0) as deactivations, deactivated_at,
             kept_active_since, now() as now
         from unnest($2::text[]) as pipeline(external_id)
         left join pipeline_crawls c on c.connector_id = $1 and c.external_id = pipeline.external_id",
    )
    .bind(connector)
    .bind(pipelines)
    .fetch_all(db)
    .await
}

/// Stores the deactivations of pipelines.
pub(crate) async fn update_deactivations(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    pipelines: &[Deactivations],
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pipeline_crawls
             (connector_id, external_id, deactivations, deactivated_at, kept_active_since)
         select $1, * from unnest($2::text[], $3::int[], $4::timestamptz[], $5::timestamptz[])
         on conflict (connector_id, external_id) do update set deactivations = excluded.deactivations,
             deactivated_at = excluded.deactivated_at, kept_active_since = excluded.kept_active_since",
    )
    .bind(connector)
    .bind(pipelines.iter().map(|pipeline| &*pipeline.external_id).collect::<Vec<_>>())
    .bind(pipelines.iter().map(|pipeline| pipeline.deactivations).collect::<Vec<_>>())
    .bind(pipelines.iter().map(|pipeline| pipeline.deactivated_at).collect::<Vec<_>>())
    .bind(pipelines.iter().map(|pipeline| pipeline.kept_active_since).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Marks all pipelines but these as not kept active.
pub(crate) async fn reset_kept_active(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    gone: &[&String],
) -> sqlx::Result<()> {
    sqlx::query(
        "update pipeline_crawls set kept_active_since = null
         where connector_id = $1 and kept_active_since is not null and external_id <> all($2)",
    )
    .bind(connector)
    .bind(gone)
    .execute(db)
    .await?;
    Ok(())
}
