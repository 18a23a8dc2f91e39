//! `task_runs`: the read model's task runs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contract::events::TaskRunObserved;
use contract::ids::{PipelineId, RunId, TaskRunId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::entities::StoredEntity;

impl StoredEntity for TaskRunObserved {
    const FIND_VERSIONS: &'static str =
        "select id, version, fingerprint, log_offset from task_runs where id = any($1)";

    const UPSERT: &'static str = "
        insert into task_runs (
            id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
            observed_at, deleted_at, pipeline_id, run_id, task_id, map_index, name, operator, status,
            provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds,
            pool, queue, hostname)
        select
            e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
            decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
            case when e.deleted then e.observed_at end, e.pipeline_id, e.run_id, e.task_id, e.map_index,
            e.name, e.operator, e.status, e.provider_status, e.try_number, e.max_tries, e.queued_at,
            e.started_at, e.ended_at, e.duration_seconds, e.pool, e.queue, e.hostname
        from json_to_recordset($1::json) as e(
            id uuid, connector_id uuid, provider text, external_id text, version bigint,
            fingerprint text, log_offset bigint, observed_at timestamptz, deleted boolean,
            pipeline_id uuid, run_id uuid, task_id text, map_index int, name text, operator text,
            status text, provider_status text, try_number int, max_tries int, queued_at timestamptz,
            started_at timestamptz, ended_at timestamptz, duration_seconds double precision, pool text,
            queue text, hostname text)
        join connectors c on c.id = e.connector_id
        order by e.id
        on conflict (id) do update set (
            version, fingerprint, log_offset, observed_at, deleted_at, name, operator, status,
            provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds,
            pool, queue, hostname) = (
            excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
            excluded.deleted_at, excluded.name, excluded.operator, excluded.status,
            excluded.provider_status, excluded.try_number, excluded.max_tries, excluded.queued_at,
            excluded.started_at, excluded.ended_at, excluded.duration_seconds, excluded.pool,
            excluded.queue, excluded.hostname)
        where task_runs.version < excluded.version";

    const FIND: &'static str = "
        select to_jsonb(t) || jsonb_build_object(
            'space', s.slug, 'deleted', t.deleted_at is not null,
            'pipeline_external_id', coalesce(p.external_id, ''),
            'run_external_id', coalesce(r.external_id, ''))
        from task_runs t join spaces s on s.id = t.space_id
        left join pipelines p on p.id = t.pipeline_id left join runs r on r.id = t.run_id
        where t.id = any($1)";

    // Task runs expire with their run: by its age where it has a row, by their own where it was removed
    // before them.
    const EXPIRED: &'static str = "
        select entity.id from retention
        cross join unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
            as entity(id, run_id, ordered_at, last_activity_at)
        left join public.runs r on r.id = entity.run_id
        where retention.what = 'task_runs'
            and entity.last_activity_at < now() - retention.days * interval '24 hours'
            and case when r.id is not null then may_go(r.id, now() - retention.days * interval '24 hours')
                else not exists (
                    select from comments c where c.run_id = entity.run_id and c.task_run_id is null)
                and not exists (
                    select from comments c where c.run_id = entity.run_id and c.task_run_id is not null)
                end";
}

/// Finds the task runs of a pipeline whose run was due at or after this time and is not deleted.
pub(crate) async fn find_ids_since(
    db: impl PgExecutor<'_>,
    pipeline: PipelineId,
    since: DateTime<Utc>,
) -> sqlx::Result<BTreeSet<TaskRunId>> {
    let task_runs: Vec<TaskRunId> = sqlx::query_scalar(
        "select t.id from runs r join task_runs t on t.run_id = r.id
         where r.pipeline_id = $1 and r.ordered_at >= $2 and r.deleted_at is null and t.deleted_at is null",
    )
    .bind(pipeline)
    .bind(since)
    .fetch_all(db)
    .await?;
    Ok(task_runs.into_iter().collect())
}

/// Returns those of these runs of which at least one task run is stored.
pub(crate) async fn find_runs_with_any(
    db: impl PgExecutor<'_>,
    runs: &[RunId],
) -> sqlx::Result<BTreeSet<RunId>> {
    if runs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found: Vec<RunId> = sqlx::query_scalar(
        "select run.id from unnest($1::uuid[]) as run(id)
         where exists (select from task_runs t where t.run_id = run.id)",
    )
    .bind(runs)
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().collect())
}

/// Finds the task runs of a run that are not deleted.
pub(crate) async fn find_ids_of_run(db: impl PgExecutor<'_>, run: RunId) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select id from task_runs where run_id = $1 and deleted_at is null")
        .bind(run)
        .fetch_all(db)
        .await
}

/// Finds the runs of these task runs, without the given ones.
pub(crate) async fn find_runs_of(
    db: impl PgExecutor<'_>,
    ids: &[Uuid],
    except: &[RunId],
) -> sqlx::Result<Vec<RunId>> {
    sqlx::query_scalar("select distinct run_id from task_runs where id = any($1) and not run_id = any($2)")
        .bind(ids)
        .bind(except)
        .fetch_all(db)
        .await
}

/// Finds those of the suspected task runs of a run that were not read again and are not deleted.
pub(crate) async fn find_missing(
    db: impl PgExecutor<'_>,
    run: RunId,
    suspects: &[Uuid],
    read: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from task_runs
         where run_id = $1 and id = any($2) and id <> all($3) and deleted_at is null",
    )
    .bind(run)
    .bind(suspects)
    .bind(read)
    .fetch_all(db)
    .await
}
