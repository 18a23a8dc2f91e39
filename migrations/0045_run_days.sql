-- Counts of runs that many projectors change at once. Whoever writes runs appends what has changed to `run_changes`, so
-- that no two transactions write the same row. A worker adds the changes to the other tables, and keeps the latest run of
-- each pipeline. A reader adds the changes that are left, and is exact at any time.

create table run_changes (
    space_id uuid not null,
    pipeline_id uuid not null,
    -- The day, in UTC, of the time that puts a run into a window of metrics.
    day date not null,
    status text not null,
    is_deleted boolean not null,
    n bigint not null,
    -- Of finished runs. Numeric, because then a duration that is subtracted leaves nothing behind.
    durations bigint not null,
    duration_sum numeric not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index run_changes_pipeline on run_changes (pipeline_id);
create index run_changes_space on run_changes (space_id);

create table run_days (
    pipeline_id uuid not null,
    day date not null,
    status text not null,
    is_deleted boolean not null,
    space_id uuid not null,
    n bigint not null,
    durations bigint not null,
    duration_sum numeric not null,
    primary key (pipeline_id, day, status, is_deleted)
) with (fillfactor = 80);
create index run_days_space on run_days (space_id, day);
create index run_days_empty on run_days (pipeline_id) where n = 0;

-- The sums of `run_days` over the usual windows: of the days after `run_window_day.as_of` less the window's days.
create table run_windows (
    pipeline_id uuid not null,
    days int not null,
    is_deleted boolean not null,
    space_id uuid not null,
    success_count bigint not null,
    failed_count bigint not null,
    durations bigint not null,
    duration_sum numeric not null,
    primary key (pipeline_id, days, is_deleted)
) with (fillfactor = 70);
create index run_windows_space on run_windows (space_id, days, is_deleted);
create table run_window_day (as_of date not null);
insert into run_window_day values ((now() at time zone 'UTC')::date);

alter table pipeline_metrics
    add column space_id uuid,
    -- The latest run, as of the changes that have been added.
    add column latest_status text,
    add column latest_at timestamptz;
create index pipeline_metrics_space on pipeline_metrics (space_id);

-- One line for each pipeline, day and status. A line that adds nothing still says that the pipeline's runs have changed.
create or replace function mark_pipeline_metrics() returns trigger language plpgsql as $$
begin
    insert into run_changes (space_id, pipeline_id, day, status, is_deleted, n, durations, duration_sum)
        select space_id, pipeline_id, (counted_at at time zone 'UTC')::date, status, deleted_at is not null,
            sign * count(*), sign * count(duration), sign * coalesce(sum(duration), 0)
        from (
            select *, case tg_op when 'DELETE' then -1 else 1 end as sign,
                case when status in ('success', 'failed') then duration_seconds::numeric end as duration
            from changed) counted
        group by 1, 2, 3, 4, 5, sign;
    return null;
end $$;
create or replace function mark_changed_pipeline_metrics() returns trigger language plpgsql as $$
begin
    insert into run_changes (space_id, pipeline_id, day, status, is_deleted, n, durations, duration_sum)
        select space_id, pipeline_id, (counted_at at time zone 'UTC')::date, status, deleted_at is not null,
            sum(sign), coalesce(sum(sign) filter (where duration is not null), 0), coalesce(sum(sign * duration), 0)
        from (
            select *, case when status in ('success', 'failed') then duration_seconds::numeric end as duration
            from (
                select space_id, pipeline_id, counted_at, status, deleted_at, duration_seconds, 1 as sign from after
                union all
                select space_id, pipeline_id, counted_at, status, deleted_at, duration_seconds, -1 from before) moved
        ) counted
        group by 1, 2, 3, 4, 5;
    return null;
end $$;

-- Adds up to so many changes to the other tables, and returns how many there were. One session at a time.
create function add_run_changes(most bigint) returns bigint language sql as $$
    with taken as (
        delete from run_changes where ctid = any (array(select ctid from run_changes limit most)) returning *
    ), days as (
        insert into run_days as d (pipeline_id, day, status, is_deleted, space_id, n, durations, duration_sum)
            select pipeline_id, day, status, is_deleted, space_id, sum(n), sum(durations), sum(duration_sum)
            from taken group by 1, 2, 3, 4, 5
            having sum(n) <> 0 or sum(durations) <> 0 or sum(duration_sum) <> 0
        on conflict (pipeline_id, day, status, is_deleted) do update set
            n = d.n + excluded.n, durations = d.durations + excluded.durations,
            duration_sum = d.duration_sum + excluded.duration_sum
    ), windows as (
        insert into run_windows as w (
            pipeline_id, days, is_deleted, space_id, success_count, failed_count, durations, duration_sum)
            select pipeline_id, days, is_deleted, space_id, coalesce(sum(n) filter (where status = 'success'), 0),
                coalesce(sum(n) filter (where status = 'failed'), 0), sum(durations), sum(duration_sum)
            from taken cross join unnest(array[1, 7, 30, 90, 365]) as days
            where day > (select as_of from run_window_day) - days and status in ('success', 'failed')
            group by 1, 2, 3, 4
        on conflict (pipeline_id, days, is_deleted) do update set
            success_count = w.success_count + excluded.success_count,
            failed_count = w.failed_count + excluded.failed_count,
            durations = w.durations + excluded.durations, duration_sum = w.duration_sum + excluded.duration_sum
    ), counts as (
        insert into run_counts as c (pipeline_id, status, is_deleted, space_id, n)
            select pipeline_id, status, is_deleted, space_id, sum(n) from taken group by 1, 2, 3, 4 having sum(n) <> 0
        on conflict (pipeline_id, status, is_deleted) do update set n = c.n + excluded.n
    ), marked as (
        insert into pipeline_metrics as m (pipeline_id, space_id, latest_status, latest_at)
            select t.pipeline_id, t.space_id, r.status, r.ordered_at
            from (select distinct pipeline_id, space_id from taken) t
            left join lateral (
                select status, ordered_at from runs
                where runs.pipeline_id = t.pipeline_id and runs.deleted_at is null
                order by ordered_at desc, id desc limit 1) r on true
        on conflict (pipeline_id) do update set
            revision = m.revision + 1, space_id = excluded.space_id, latest_status = excluded.latest_status,
            latest_at = excluded.latest_at
    )
    select count(*) from taken
$$;

-- Takes the days that have left the windows out of `run_windows`. A minute late, so that no reader is a day behind.
create function roll_run_windows() returns void language plpgsql as $$
declare
    today constant date := ((now() - interval '1 minute') at time zone 'UTC')::date;
    before constant date := (select as_of from run_window_day);
begin
    if before >= today then
        return;
    end if;
    update run_windows w set
        success_count = w.success_count - gone.success_count, failed_count = w.failed_count - gone.failed_count,
        durations = w.durations - gone.durations, duration_sum = w.duration_sum - gone.duration_sum
    from (
        select d.pipeline_id, days, d.is_deleted, coalesce(sum(d.n) filter (where d.status = 'success'), 0) as success_count,
            coalesce(sum(d.n) filter (where d.status = 'failed'), 0) as failed_count, sum(d.durations) as durations,
            sum(d.duration_sum) as duration_sum
        from unnest(array[1, 7, 30, 90, 365]) as days
        join run_days d on d.day > before - days and d.day <= today - days
        where d.status in ('success', 'failed')
        group by 1, 2, 3) gone
    where w.pipeline_id = gone.pipeline_id and w.days = gone.days and w.is_deleted = gone.is_deleted;
    update run_window_day set as_of = today;
end $$;

-- Sums the days up, and finds the latest runs.
create function fill_run_windows() returns void language sql as $$
    insert into run_windows (pipeline_id, days, is_deleted, space_id, success_count, failed_count, durations, duration_sum)
        select d.pipeline_id, days, d.is_deleted, d.space_id, coalesce(sum(d.n) filter (where d.status = 'success'), 0),
            coalesce(sum(d.n) filter (where d.status = 'failed'), 0), sum(d.durations), sum(d.duration_sum)
        from unnest(array[1, 7, 30, 90, 365]) as days
        join run_days d on d.day > (select as_of from run_window_day) - days
        where d.status in ('success', 'failed')
        group by 1, 2, 3, 4;
$$;

-- Counts everything, where runs came by another way than statements on the table.
create or replace function count_all_runs() returns void language sql as $$
    insert into pipeline_metrics (pipeline_id) select distinct pipeline_id from runs on conflict do nothing;
    update pipeline_metrics m set revision = m.revision + 1, space_id = r.space_id, latest_status = r.status,
        latest_at = r.ordered_at
    from pipeline_metrics k left join lateral (
        select space_id, status, ordered_at from runs where runs.pipeline_id = k.pipeline_id and runs.deleted_at is null
        order by ordered_at desc, id desc limit 1) r on true
    where m.pipeline_id = k.pipeline_id;
    delete from run_changes;
    delete from run_counts;
    delete from run_days;
    delete from run_windows;
    insert into run_days (pipeline_id, day, status, is_deleted, space_id, n, durations, duration_sum)
        select pipeline_id, (counted_at at time zone 'UTC')::date, status, deleted_at is not null, space_id, count(*),
            count(duration_seconds) filter (where status in ('success', 'failed')),
            coalesce(sum(duration_seconds::numeric) filter (where status in ('success', 'failed')), 0)
        from runs group by 1, 2, 3, 4, 5;
    insert into run_counts (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, is_deleted, space_id, sum(n) from run_days group by 1, 2, 3, 4;
    select fill_run_windows();
$$;
