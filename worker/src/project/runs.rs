//! Runs as rows.

use chrono::DateTime;
use contract::events::RunObserved;

use super::{Age, Projection};

impl Projection for RunObserved {
    const KNOWN: &'static str = "select id, version, fingerprint, log_offset from runs where id = any($1)";

    const UPSERT: &'static str = "
        insert into runs (
            id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
            observed_at, deleted_at, pipeline_id, status, provider_status, run_type, logical_date,
            data_interval_start, data_interval_end, run_after, queued_at, started_at, ended_at,
            duration_seconds, conf, note, triggered_by_id, triggered_by_name, external_url)
        select
            e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
            decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
            case when e.deleted then e.observed_at end, e.pipeline_id, e.status, e.provider_status,
            e.run_type, e.logical_date, e.data_interval_start, e.data_interval_end, e.run_after,
            e.queued_at, e.started_at, e.ended_at, e.duration_seconds, e.conf, e.note,
            (e.triggered_by->>'id')::uuid, e.triggered_by->>'name', e.external_url
        from json_to_recordset($1::json) as e(
            id uuid, connector_id uuid, provider text, external_id text, version bigint,
            fingerprint text, log_offset bigint, observed_at timestamptz, deleted boolean,
            pipeline_id uuid, status text, provider_status text, run_type text,
            logical_date timestamptz, data_interval_start timestamptz, data_interval_end timestamptz,
            run_after timestamptz, queued_at timestamptz, started_at timestamptz, ended_at timestamptz,
            duration_seconds double precision, conf jsonb, note text, triggered_by jsonb,
            external_url text)
        join connectors c on c.id = e.connector_id
        order by e.id
        on conflict (id) do update set (
            version, fingerprint, log_offset, observed_at, deleted_at, status, provider_status,
            run_type, logical_date, data_interval_start, data_interval_end, run_after, queued_at,
            started_at, ended_at, duration_seconds, conf, note, triggered_by_id, triggered_by_name,
            external_url) = (
            excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
            excluded.deleted_at, excluded.status, excluded.provider_status, excluded.run_type,
            excluded.logical_date, excluded.data_interval_start, excluded.data_interval_end,
            excluded.run_after, excluded.queued_at, excluded.started_at, excluded.ended_at,
            excluded.duration_seconds, excluded.conf, excluded.note, excluded.triggered_by_id,
            excluded.triggered_by_name, excluded.external_url)
        where runs.version < excluded.version";

    const FIND: &'static str = "
        select to_jsonb(r) || jsonb_build_object(
            'space', s.slug, 'deleted', r.deleted_at is not null,
            'pipeline_external_id', coalesce(p.external_id, ''),
            'triggered_by', case when r.triggered_by_id is not null
                then jsonb_build_object('id', r.triggered_by_id, 'name', r.triggered_by_name) end)
        from runs r join spaces s on s.id = r.space_id left join pipelines p on p.id = r.pipeline_id
        where r.id = any($1)";

    // The live read model tells which run is a pipeline's latest, also while another one is made beside it.
    const TOO_OLD: &'static str = "
        select old.id from retention
        cross join unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
            as old(id, pipeline_id, due_at, settled_at)
        where retention.what = 'runs' and old.settled_at < now() - retention.days * interval '24 hours'
            and (old.due_at is null or exists (
                select from public.runs later where later.pipeline_id = old.pipeline_id
                    and later.deleted_at is null and (later.ordered_at, later.id) > (old.due_at, old.id)))
            and not exists (select from comments c where c.run_id = old.id and c.task_run_id is null)
            and not exists (select from comments c where c.run_id = old.id and c.task_run_id is not null)";

    fn named_as(self, other: &Self) -> Self {
        Self { pipeline_external_id: other.pipeline_external_id.clone(), ..self }
    }

    fn age(&self) -> Option<Age> {
        let due_at = self.run_after.or(self.logical_date).or(self.queued_at).or(self.started_at);
        let times = [self.run_after, self.logical_date, self.queued_at, self.started_at, self.ended_at];
        (self.status.is_finished() || self.deleted).then(|| Age {
            of: self.pipeline_id.0,
            // One that is gone at the provider is nobody's latest.
            due_at: (!self.deleted).then_some(due_at.unwrap_or(DateTime::UNIX_EPOCH)),
            settled_at: times.into_iter().flatten().max().unwrap_or(self.observed_at),
        })
    }
}
