//! `pipelines`: the read model's pipelines.

use contract::events::PipelineObserved;
use contract::ids::{ConnectorId, PipelineId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::entities::StoredEntity;

impl StoredEntity for PipelineObserved {
    const FIND_VERSIONS: &'static str =
        "select id, version, fingerprint, log_offset from pipelines where id = any($1)";

    const UPSERT: &'static str = "
        with resumed as (
            insert into pipeline_resumptions as known (pipeline_id, resumed_at)
            select p.id, e.observed_at
            from json_to_recordset($1::json) as e(
                id uuid, version bigint, observed_at timestamptz, deleted boolean, is_paused boolean,
                is_active boolean)
            join pipelines p on p.id = e.id
            where p.version < e.version and not e.is_paused and e.is_active and not e.deleted
                and (p.is_paused or not p.is_active or p.deleted_at is not null)
            order by p.id
            on conflict (pipeline_id) do update
                set resumed_at = greatest(known.resumed_at, excluded.resumed_at))
        insert into pipelines (
            id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
            observed_at, deleted_at, first_seen_at, name, description, owner, owners, tags, schedule,
            is_paused, is_active, external_url, next_run_at, provider_metadata, tasks)
        select
            e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
            decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
            case when e.deleted then e.observed_at end, e.first_seen_at, e.name, e.description, e.owner,
            e.owners, e.tags, e.schedule, e.is_paused, e.is_active, e.external_url, e.next_run_at,
            e.provider_metadata, e.tasks
        from json_to_recordset($1::json) as e(
            id uuid, connector_id uuid, provider text, external_id text, version bigint,
            fingerprint text, log_offset bigint, observed_at timestamptz, deleted boolean,
            first_seen_at timestamptz, name text, description text, owner text, owners text[],
            tags text[], schedule text, is_paused boolean, is_active boolean, external_url text,
            next_run_at timestamptz, provider_metadata jsonb, tasks jsonb)
        join connectors c on c.id = e.connector_id
        order by e.id
        on conflict (id) do update set (
            version, fingerprint, log_offset, observed_at, deleted_at, first_seen_at, name, description,
            owner, owners, tags, schedule, is_paused, is_active, external_url, next_run_at,
            provider_metadata, tasks) = (
            excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
            excluded.deleted_at, excluded.first_seen_at, excluded.name, excluded.description,
            excluded.owner, excluded.owners, excluded.tags, excluded.schedule, excluded.is_paused,
            excluded.is_active, excluded.external_url, excluded.next_run_at, excluded.provider_metadata,
            excluded.tasks)
        where pipelines.version < excluded.version";

    const FIND: &'static str = "
        select to_jsonb(p) - 'search_text'
            || jsonb_build_object('space', s.slug, 'deleted', p.deleted_at is not null)
        from pipelines p join spaces s on s.id = p.space_id where p.id = any($1)";

    const EXPIRED: &'static str = "select null::uuid where false";
}

/// A pipeline that is not deleted.
#[derive(sqlx::FromRow)]
pub(crate) struct ExistingPipeline {
    pub external_id: String,
    pub id: PipelineId,
    pub is_active: bool,
}

/// Finds the pipelines of a connector that are not deleted, active or not.
pub(crate) async fn find_existing(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
) -> sqlx::Result<Vec<ExistingPipeline>> {
    sqlx::query_as(
        "select external_id, id, is_active from pipelines where connector_id = $1 and deleted_at is null",
    )
    .bind(connector)
    .fetch_all(db)
    .await
}

/// Finds active pipelines of a connector, up to `limit`.
pub(crate) async fn find_active(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from pipelines where connector_id = $1 and is_active limit $2")
        .bind(connector)
        .bind(limit)
        .fetch_all(db)
        .await
}

/// Finds the pipelines whose task graph lacks the executed task at the same index; returns their external
/// ids. Each graph is read once, however many of its tasks were executed.
pub(crate) async fn find_with_stale_graphs(
    db: impl PgExecutor<'_>,
    ids: &[PipelineId],
    tasks: &[&str],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "with known as materialized (
             select p.id, task->>'task_id' as task_id
             from pipelines p cross join jsonb_array_elements(p.tasks) task where p.id = any($1))
         select distinct p.external_id from unnest($1::uuid[], $2::text[]) executed (pipeline_id, task_id)
         join pipelines p on p.id = executed.pipeline_id
         where not exists (
             select from known where known.id = executed.pipeline_id and known.task_id = executed.task_id)",
    )
    .bind(ids)
    .bind(tasks)
    .fetch_all(db)
    .await
}
