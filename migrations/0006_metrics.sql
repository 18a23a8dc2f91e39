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

-- How many runs of a pipeline have each status, so that the total of a long list need not be counted.
create table run_counts (
    pipeline_id uuid not null,
    status text not null,
    is_deleted boolean not null,
    space_id uuid not null,
    n bigint not null,
    primary key (pipeline_id, status, is_deleted)
) with (fillfactor = 50);
create index run_counts_space on run_counts (space_id);

-- Whoever writes runs marks their pipelines and counts them, in the same transaction.
create function mark_pipeline_metrics() returns trigger language plpgsql as $$
begin
    insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from changed order by pipeline_id
    on conflict (pipeline_id) do update set revision = pipeline_metrics.revision + 1;
    insert into run_counts as counted (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, deleted_at is not null, space_id, case tg_op when 'DELETE' then -1 else 1 end * count(*)
        from changed group by 1, 2, 3, 4 order by 1, 2, 3
    on conflict (pipeline_id, status, is_deleted) do update set n = counted.n + excluded.n;
    return null;
end $$;
create function mark_changed_pipeline_metrics() returns trigger language plpgsql as $$
begin
    insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from after order by pipeline_id
    on conflict (pipeline_id) do update set revision = pipeline_metrics.revision + 1;
    insert into run_counts as counted (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, deleted_at is not null, space_id, sum(n)
        from (select pipeline_id, status, deleted_at, space_id, 1 as n from after union all select pipeline_id, status, deleted_at, space_id, -1 from before) moved
        group by 1, 2, 3, 4 having sum(n) <> 0 order by 1, 2, 3
    on conflict (pipeline_id, status, is_deleted) do update set n = counted.n + excluded.n;
    return null;
end $$;
create trigger runs_inserted after insert on runs
    referencing new table as changed for each statement execute function mark_pipeline_metrics();
create trigger runs_updated after update on runs
    referencing old table as before new table as after
    for each statement execute function mark_changed_pipeline_metrics();
create trigger runs_deleted after delete on runs
    referencing old table as changed for each statement execute function mark_pipeline_metrics();

-- Marks and counts everything, where runs came by another way than statements on the table.
create function count_all_runs() returns void language sql as $$
    insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from runs on conflict do nothing;
    update pipeline_metrics set revision = revision + 1;
    delete from run_counts;
    insert into run_counts (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, deleted_at is not null, space_id, count(*) from runs group by 1, 2, 3, 4;
$$;
select count_all_runs();
