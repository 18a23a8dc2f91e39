//! What signals are judged from: connectors and when they were seen last, unfinished runs and due times with
//! what is expected of them; and `signals`, which remembers what has been counted.

use chrono::{DateTime, NaiveDateTime, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId, SpaceId, TaskRunId};
use contract::state::IncidentKind;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};

use super::expectations::Expectation;

/// Takes an advisory lock until the end of the transaction; false while another session holds it.
pub(crate) async fn try_lock(db: &mut PgConnection, lock: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(lock).fetch_one(db).await
}

/// A connector, and when its provider was seen last.
#[derive(Clone, sqlx::FromRow)]
pub(crate) struct PolledConnector {
    pub id: ConnectorId,
    pub space_id: SpaceId,
    pub name: String,
    pub is_active: bool,
    pub schedule: Option<String>,
    /// When the last complete poll began; none before the first one.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The last success or complete poll, or a later change of the connector.
    pub good_at: DateTime<Utc>,
}

/// Finds the connectors that are not deleted.
pub(crate) async fn find_connectors(
    db: impl PgExecutor<'_>,
    limit: i64,
) -> sqlx::Result<Vec<PolledConnector>> {
    sqlx::query_as(
        "select c.id, c.space_id, c.name, c.is_active, c.config->>'schedule' as schedule, state.confirmed_at,
             greatest(state.last_success_at, state.confirmed_at, c.created_at, c.updated_at) as good_at
         from connectors c join connector_state state on state.connector_id = c.id
         where c.deleted_at is null
         order by c.id limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// A connector that is not stale: when its provider was seen, and how long it takes until the next time.
#[derive(Clone, Copy)]
pub(crate) struct FreshConnector {
    pub id: ConnectorId,
    pub seen_at: DateTime<Utc>,
    pub poll_interval: f64,
}

/// An unfinished run, or a due time without one, as it was seen last, with what is expected of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct WatchedRun {
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub pipeline_id: PipelineId,
    pub pipeline_name: String,
    /// None for a due time without a run.
    pub run_id: Option<RunId>,
    /// Whether its due time counts: not for a run that was triggered by assets, or cleared, or of a pipeline
    /// that is paused, or was resumed after the due time.
    pub is_due: bool,
    pub due_at: DateTime<Utc>,
    /// The due time by the clock of the schedule's zone.
    pub due_clock: NaiveDateTime,
    pub zone: String,
    pub started_at: Option<DateTime<Utc>>,
    pub seen_at: DateTime<Utc>,
    pub poll_interval: f64,
    #[sqlx(flatten)]
    pub expected: Expectation,
}

/// Finds unfinished runs, and due times that have passed without a run, of the pipelines of these connectors
/// that have expectations; up to `limit` of each.
pub(crate) async fn find_watched(
    db: &mut PgConnection,
    connectors: &[FreshConnector],
    limit: i64,
) -> sqlx::Result<Vec<WatchedRun>> {
    let mut watched = Vec::new();
    for sql in [UNFINISHED, OVERDUE] {
        let rows: Vec<WatchedRun> = sqlx::query_as(sql)
            .bind(connectors.iter().map(|connector| connector.id).collect::<Vec<_>>())
            .bind(connectors.iter().map(|connector| connector.seen_at).collect::<Vec<_>>())
            .bind(connectors.iter().map(|connector| connector.poll_interval).collect::<Vec<_>>())
            .bind(limit)
            .fetch_all(&mut *db)
            .await?;
        watched.extend(rows);
    }
    Ok(watched)
}

/// A run that was cleared is unfinished again: it has a sample from before, or a task that started before the
/// run was queued.
const UNFINISHED: &str = "
    select r.space_id, r.connector_id, r.pipeline_id, p.name as pipeline_name, r.id as run_id,
        r.run_type = 'scheduled' and not p.is_paused and due.at >= coalesce(resumed_at, '-infinity')
            and not exists (select from run_samples s where s.run_id = r.id)
            and not exists (
                select from task_runs t where t.run_id = r.id and t.deleted_at is null
                    and t.started_at
                        < coalesce(r.queued_at, r.started_at, 'infinity') - interval '1 minute') as is_due,
        due.at as due_at,
        timezone(learned.zone, due.at) as due_clock, learned.zone, r.started_at, fresh.seen_at,
        fresh.poll_interval, e.class, e.runs, e.duration_p50_seconds, e.duration_p95_seconds,
        e.slow_after_seconds, e.start_p95_seconds, e.finish_after_seconds
    from unnest($1::uuid[], $2::timestamptz[], $3::float8[]) as fresh (id, seen_at, poll_interval)
    join runs r on r.connector_id = fresh.id
    join pipelines p on p.id = r.pipeline_id
    join expectations learned on learned.pipeline_id = r.pipeline_id
    left join pipeline_resumptions resumed on resumed.pipeline_id = r.pipeline_id
    cross join lateral (
        select run_due_at(r.run_type, r.run_after, r.data_interval_end, r.queued_at, r.ordered_at) as at) due
    cross join lateral expectation_at(r.pipeline_id, due.at) e
    where r.status in ('queued', 'running') and r.deleted_at is null
        and r.run_type in ('scheduled', 'asset_triggered') and p.is_active and p.deleted_at is null
    order by r.ordered_at, r.id limit $4";

/// The provider keeps a due time as the pipeline's next one until its run is there. The runs are looked
/// through as well, because they may have been read a moment later.
const OVERDUE: &str = "
    select p.space_id, p.connector_id, p.id as pipeline_id, p.name as pipeline_name, null::uuid as run_id,
        true as is_due, p.next_run_at as due_at, timezone(learned.zone, p.next_run_at) as due_clock,
        learned.zone, null::timestamptz as started_at, fresh.seen_at, fresh.poll_interval, e.class, e.runs,
        e.duration_p50_seconds, e.duration_p95_seconds, e.slow_after_seconds, e.start_p95_seconds,
        e.finish_after_seconds
    from pipelines p
    join unnest($1::uuid[], $2::timestamptz[], $3::float8[]) as fresh (id, seen_at, poll_interval)
        on fresh.id = p.connector_id
    join expectations learned on learned.pipeline_id = p.id
    left join pipeline_resumptions resumed on resumed.pipeline_id = p.id
    cross join lateral expectation_at(p.id, p.next_run_at) e
    where p.is_active and not p.is_paused and p.deleted_at is null and p.next_run_at < now()
        and p.next_run_at >= coalesce(resumed_at, '-infinity')
        and not exists (
            select from (
                select * from runs r where r.pipeline_id = p.id and r.deleted_at is null
                order by r.ordered_at desc, r.id desc limit 10) r
            where r.run_type = 'scheduled' and p.next_run_at <= run_due_at(
                r.run_type, r.run_after, r.data_interval_end, r.queued_at, r.ordered_at))
    order by p.next_run_at, p.id limit $4";

/// A pipeline whose latest finished run failed.
#[derive(sqlx::FromRow)]
pub(crate) struct FailingPipeline {
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub pipeline_id: PipelineId,
    pub pipeline_name: String,
    /// How many runs have failed in a row; of those before an incident was opened, up to 100.
    pub failures: i32,
    pub failed_run_id: RunId,
    pub failed_at: DateTime<Utc>,
    pub first_failed_run_id: RunId,
    pub first_failed_at: DateTime<Utc>,
    /// Both times by the clock of the schedule's zone.
    pub failed_clock: NaiveDateTime,
    pub first_failed_clock: NaiveDateTime,
    pub zone: String,
    #[sqlx(json)]
    pub tasks: FailedTasks,
}

/// The tasks of the latest failed run that did not succeed, as in the evidence of an incident.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedTasks {
    /// None where no task has failed, or the tasks are not there yet.
    pub first_failed_task: Option<FailedTask>,
    pub failed_tasks: i64,
    /// Those that were not executed because of the failed ones.
    pub upstream_failed_tasks: i64,
}

impl FailedTasks {
    /// The names of its fields in the evidence.
    pub(crate) const FIELDS: [&str; 3] = ["first_failed_task", "failed_tasks", "upstream_failed_tasks"];
}

/// The task of a run that failed first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedTask {
    pub task_run_id: TaskRunId,
    pub task_id: String,
    pub map_index: i32,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Finds the failing pipelines of active connectors, without those whose latest failure was more than a day
/// old when they were learned for the first time, and that have no incident.
pub(crate) async fn find_failing(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<FailingPipeline>> {
    sqlx::query_as(FAILING).bind(limit).fetch_all(db).await
}

/// The tasks may be stored a little later than their run, so they are looked up until the incident has named
/// one for five minutes. Expectations count up to 100 failures: beyond, the incident has the first one, and
/// those since its last one are added to its own.
const FAILING: &str = "
    select p.space_id, p.connector_id, p.id as pipeline_id, p.name as pipeline_name, streak.failures,
        e.failed_run_id, e.failed_at, streak.first_failed_run_id, streak.first_failed_at, e.zone,
        timezone(e.zone, e.failed_at) as failed_clock,
        timezone(e.zone, streak.first_failed_at) as first_failed_clock,
        coalesce(known.evidence, found.evidence) as tasks
    from expectations e join pipelines p on p.id = e.pipeline_id
    join connectors c on c.id = p.connector_id
    left join incidents i on coalesce(i.pipeline_id, i.connector_id) = p.id and i.kind = 'failing'
        and i.status <> 'resolved'
    cross join lateral (
        select count(*)::int as failures
        from runs known join runs newest on newest.id = e.failed_run_id
        join runs r on r.pipeline_id = p.id and (r.ordered_at, r.id) > (known.ordered_at, known.id)
            and (r.ordered_at, r.id) <= (newest.ordered_at, newest.id)
        where e.failures >= 100 and known.id = i.last_run_id and r.status = 'failed'
            and r.deleted_at is null) further
    cross join lateral (
        select (i.evidence->>'failures')::int + further.failures as failures,
            (i.evidence->>'first_failed_run_id')::uuid as first_failed_run_id,
            (i.evidence->>'first_failed_at')::timestamptz as first_failed_at
        where e.failures >= 100 and i.id is not null
        union all
        select e.failures, e.first_failed_run_id, e.first_failed_at
        where e.failures < 100 or i.id is null) streak
    left join lateral (
        select i.evidence
        where i.last_run_id = e.failed_run_id and i.evidence->'first_failed_task' <> 'null'
            and i.updated_at < now() - interval '5 minutes') known on true
    cross join lateral (
        select jsonb_build_object(
            'failed_tasks', count(*) filter (where t.status = 'failed'),
            'upstream_failed_tasks', count(*) filter (where t.status = 'upstream_failed'),
            'first_failed_task', (array_agg(
                jsonb_build_object(
                    'task_run_id', t.id, 'task_id', t.task_id, 'map_index', t.map_index,
                    'ended_at', t.ended_at) order by t.ended_at, t.task_id, t.map_index)
                filter (where t.status = 'failed'))[1]) as evidence
        from task_runs t
        where t.run_id = e.failed_run_id and t.deleted_at is null and known.evidence is null
            and t.status in ('failed', 'upstream_failed')) found
    where e.failed_run_id is not null and p.is_active and p.deleted_at is null
        and c.is_active and c.deleted_at is null
        and (i.id is not null or e.failed_at >= e.watched_from - interval '1 day')
    order by p.id limit $1";

/// Finds the pipelines whose latest finished run was slow.
pub(crate) async fn find_slow_finished(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<PipelineId>> {
    sqlx::query_scalar(
        "select p.id from expectations e join pipelines p on p.id = e.pipeline_id
         join connectors c on c.id = p.connector_id
         where e.slow_run_id is not null and p.is_active and p.deleted_at is null
             and c.is_active and c.deleted_at is null
         order by p.id limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Deletes signals of runs that no sample remembers any more.
pub(crate) async fn delete_old(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<()> {
    sqlx::query(
        "delete from signals where ctid = any (array(
             select ctid from signals where at < now() - interval '60 days' order by at limit $1))",
    )
    .bind(limit)
    .execute(db)
    .await?;
    Ok(())
}

/// A run or due time for which a pipeline is slow or late.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::FromRow)]
pub(crate) struct Occurrence {
    pub pipeline_id: PipelineId,
    pub kind: IncidentKind,
    /// The run's id, or the due time.
    pub occurrence: String,
}

/// Remembers occurrences; returns those that are new.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    occurrences: &[Occurrence],
) -> sqlx::Result<Vec<Occurrence>> {
    if occurrences.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "insert into signals (pipeline_id, kind, occurrence)
         select * from unnest($1::uuid[], $2::text[], $3::text[])
         on conflict do nothing returning pipeline_id, kind, occurrence",
    )
    .bind(occurrences.iter().map(|signal| signal.pipeline_id).collect::<Vec<_>>())
    .bind(occurrences.iter().map(|signal| signal.kind.into()).collect::<Vec<&'static str>>())
    .bind(occurrences.iter().map(|signal| signal.occurrence.as_str()).collect::<Vec<_>>())
    .fetch_all(db)
    .await
}
