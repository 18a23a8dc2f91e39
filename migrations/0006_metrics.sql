-- The metrics of pipelines over the usual window, kept so that a page of them, or an order by them, need not count
-- every run. A row is right as long as it was counted after the last change of a run of its pipeline, and before the
-- oldest run that it counts leaves the window; any other is counted by whoever asks.

-- The one definition of the metrics. `duration_seconds` and the rates are those of finished runs.
create function run_metrics(pipeline uuid, since timestamptz, include_deleted boolean)
returns table (
    run_count bigint, success_count bigint, failed_count bigint, running_count bigint, queued_count bigint,
    avg_duration_seconds float8, percentiles float8[], last_success_at timestamptz, last_failure_at timestamptz,
    oldest_at timestamptz)
language sql stable as $$
    select count(*),
        count(*) filter (where r.status = 'success'),
        count(*) filter (where r.status = 'failed'),
        count(*) filter (where r.status = 'running'),
        count(*) filter (where r.status = 'queued'),
        avg(r.duration_seconds) filter (where r.status in ('success', 'failed')),
        percentile_cont(array[0.5, 0.95]) within group (order by r.duration_seconds)
            filter (where r.status in ('success', 'failed')),
        max(r.ended_at) filter (where r.status = 'success'),
        max(r.ended_at) filter (where r.status = 'failed'),
        min(r.counted_at)
    from runs r
    where r.pipeline_id = pipeline and r.counted_at >= since and (include_deleted or r.deleted_at is null)
$$;

create table pipeline_metrics (
    pipeline_id uuid primary key,
    -- Grows with every change of a run of the pipeline.
    revision bigint not null default 0,
    -- The revision that was counted; none yet where null.
    counted_revision bigint,
    valid_until timestamptz,
    run_count bigint,
    success_count bigint,
    failed_count bigint,
    running_count bigint,
    queued_count bigint,
    avg_duration_seconds double precision,
    percentiles double precision[],
    last_success_at timestamptz,
    last_failure_at timestamptz
) with (fillfactor = 50);

-- Whoever writes runs marks their pipelines, in the same transaction.
create function mark_pipeline_metrics() returns trigger language plpgsql as $$
begin
    insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from changed order by pipeline_id
    on conflict (pipeline_id) do update set revision = pipeline_metrics.revision + 1;
    return null;
end $$;
create trigger runs_inserted after insert on runs
    referencing new table as changed for each statement execute function mark_pipeline_metrics();
create trigger runs_updated after update on runs
    referencing new table as changed for each statement execute function mark_pipeline_metrics();
create trigger runs_deleted after delete on runs
    referencing old table as changed for each statement execute function mark_pipeline_metrics();

insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from runs;
