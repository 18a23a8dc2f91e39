//! `runs`: the read model's runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contract::events::{RunObserved, UserRef};
use contract::ids::{ConnectorId, PipelineId, RunId, UserId};
use sqlx::PgExecutor;

use super::entities::StoredEntity;

impl StoredEntity for RunObserved {
    const FIND_VERSIONS: &'static str =
        "select id, version, fingerprint, log_offset from runs where id = any($1)";

    const UPSERT: &'static str = "
        insert into runs (
            id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
            observed_at, deleted_at, pipeline_id, status, provider_status, run_type, logical_date,
            data_interval_start, data_interval_end, run_after, queued_at, started_at, ended_at,
            duration_seconds, conf, conf_bytes, note, triggered_by_id, triggered_by_name, external_url)
        select
            e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
            decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
            case when e.deleted then e.observed_at end, e.pipeline_id, e.status, e.provider_status,
            e.run_type, e.logical_date, e.data_interval_start, e.data_interval_end, e.run_after,
            e.queued_at, e.started_at, e.ended_at, e.duration_seconds,
            coalesce(e.conf, 'null'), coalesce(e.conf_bytes, e.conf_size), e.note,
            (e.triggered_by->>'id')::uuid, e.triggered_by->>'name', e.external_url
        from json_to_recordset($1::json) as e(
            id uuid, connector_id uuid, provider text, external_id text, version bigint,
            fingerprint text, log_offset bigint, conf_size bigint, observed_at timestamptz, deleted boolean,
            pipeline_id uuid, status text, provider_status text, run_type text,
            logical_date timestamptz, data_interval_start timestamptz, data_interval_end timestamptz,
            run_after timestamptz, queued_at timestamptz, started_at timestamptz, ended_at timestamptz,
            duration_seconds double precision, conf jsonb, conf_bytes bigint, note text,
            triggered_by jsonb, external_url text)
        join connectors c on c.id = e.connector_id
        order by e.id
        on conflict (id) do update set (
            version, fingerprint, log_offset, observed_at, deleted_at, status, provider_status,
            run_type, logical_date, data_interval_start, data_interval_end, run_after, queued_at,
            started_at, ended_at, duration_seconds, conf, conf_bytes, note, triggered_by_id,
            triggered_by_name, external_url) = (
            excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
            excluded.deleted_at, excluded.status, excluded.provider_status, excluded.run_type,
            excluded.logical_date, excluded.data_interval_start, excluded.data_interval_end,
            excluded.run_after, excluded.queued_at, excluded.started_at, excluded.ended_at,
            excluded.duration_seconds, excluded.conf, excluded.conf_bytes, excluded.note,
            excluded.triggered_by_id, excluded.triggered_by_name, excluded.external_url)
        where runs.version < excluded.version";

    const FIND: &'static str = "
        select to_jsonb(r) || jsonb_build_object(
            'space', s.slug, 'deleted', r.deleted_at is not null,
            'conf_bytes', case when r.conf = 'null' then r.conf_bytes end,
            'truncated', r.conf = 'null' and r.conf_bytes is not null,
            'pipeline_external_id', coalesce(p.external_id, ''),
            'triggered_by', case when r.triggered_by_id is not null
                then jsonb_build_object('id', r.triggered_by_id, 'name', r.triggered_by_name) end)
        from runs r join spaces s on s.id = r.space_id left join pipelines p on p.id = r.pipeline_id
        where r.id = any($1)";

    // A pipeline's latest run stays. Which one it is comes from the live tables, also during a rebuild.
    const EXPIRED: &'static str = "
        select entity.id from retention
        cross join unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
            as entity(id, pipeline_id, ordered_at, last_activity_at)
        where retention.what = 'runs'
            and entity.last_activity_at < now() - retention.days * interval '24 hours'
            and (entity.ordered_at is null or exists (
                select from public.runs later where later.pipeline_id = entity.pipeline_id
                    and later.deleted_at is null
                    and (later.ordered_at, later.id) > (entity.ordered_at, entity.id)))
            and not exists (select from comments c where c.run_id = entity.id and c.task_run_id is null)
            and not exists (select from comments c where c.run_id = entity.id and c.task_run_id is not null)";

    fn conf_size(&self) -> Option<usize> {
        (!self.conf.is_null()).then(|| self.conf.get().len())
    }
}

/// The external ids of a run and its pipeline.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RunExternalIds {
    pub pipeline: String,
    pub run: String,
}

#[derive(sqlx::FromRow)]
struct RunWithExternalIds {
    id: RunId,
    #[sqlx(flatten)]
    external_ids: RunExternalIds,
}

fn by_id(runs: Vec<RunWithExternalIds>) -> BTreeMap<RunId, RunExternalIds> {
    runs.into_iter().map(|run| (run.id, run.external_ids)).collect()
}

/// Finds the external ids of runs.
pub(crate) async fn find_external_ids(
    db: impl PgExecutor<'_>,
    ids: &[RunId],
) -> sqlx::Result<BTreeMap<RunId, RunExternalIds>> {
    let runs = sqlx::query_as(
        "select r.id, p.external_id as pipeline, r.external_id as run
         from runs r join pipelines p on p.id = r.pipeline_id where r.id = any($1)",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(by_id(runs))
}

/// Finds unfinished runs of a connector other than these: a random choice, so that each poll takes other
/// ones. Runs in an unknown state come last, because they may stay in it.
pub(crate) async fn find_unfinished(
    db: impl PgExecutor<'_>,
    connector: ConnectorId,
    except: &[RunId],
    limit: i64,
) -> sqlx::Result<BTreeMap<RunId, RunExternalIds>> {
    let runs = sqlx::query_as(
        "select r.id, p.external_id as pipeline, r.external_id as run
         from runs r join pipelines p on p.id = r.pipeline_id
         where r.connector_id = $1 and r.status in ('queued', 'running', 'unknown')
           and r.deleted_at is null and p.deleted_at is null and r.id <> all($2)
         order by r.status = 'unknown', random() limit $3",
    )
    .bind(connector)
    .bind(except)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(by_id(runs))
}

/// Finds the runs of a pipeline that were due at or after this time and are not deleted. Where the provider
/// does not return when a run was due, also those that ended since.
pub(crate) async fn find_ids_since(
    db: impl PgExecutor<'_>,
    pipeline: PipelineId,
    since: DateTime<Utc>,
) -> sqlx::Result<BTreeSet<RunId>> {
    let runs: Vec<RunId> = sqlx::query_scalar(
        "select id from runs where pipeline_id = $1 and deleted_at is null
             and (ordered_at >= $2 or run_after is null and ended_at >= $2)",
    )
    .bind(pipeline)
    .bind(since)
    .fetch_all(db)
    .await?;
    Ok(runs.into_iter().collect())
}

/// Finds who triggered these runs through the API: by the run's row or, for a run without a row, by the
/// command that the API stored before it sent it.
pub(crate) async fn find_triggered_by(
    db: impl PgExecutor<'_>,
    ids: &[RunId],
) -> sqlx::Result<BTreeMap<RunId, UserRef>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let triggered: Vec<(RunId, UserId, String)> = sqlx::query_as(
        "select distinct on (run_id) run_id, user_id, name from (
             select id as run_id, triggered_by_id as user_id, triggered_by_name as name, 0 as rank
             from runs where id = any($1) and triggered_by_id is not null
             union all
             select t.run_id, u.id, u.name, 1 from triggers t join users u on u.id = t.user_id
             where t.run_id = any($1) and coalesce(t.answer_status, 201) = 201) candidates
         order by run_id, rank",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(triggered.into_iter().map(|(run, id, name)| (run, UserRef { id, name })).collect())
}
