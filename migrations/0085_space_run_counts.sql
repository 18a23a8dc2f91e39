-- How many runs of a space have each status: the sums of `run_counts`, so that the total of a list of all runs does not add
-- up the counts of every pipeline. Kept by the same passes.
create table space_run_counts (
    space_id uuid not null,
    status text not null,
    is_deleted boolean not null,
    n bigint not null,
    primary key (space_id, status, is_deleted)
) with (fillfactor = 50);

-- No pass runs until this transaction ends, so that none adds to one of the tables alone.
select pg_advisory_xact_lock(120282512779619);

-- Adds up to so many changes to the other tables, and returns how many there were. One session at a time.
create or replace function add_run_changes(most bigint) returns bigint language sql as $$
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
    ), space_counts as (
        insert into space_run_counts as c (space_id, status, is_deleted, n)
            select space_id, status, is_deleted, sum(n) from taken group by 1, 2, 3 having sum(n) <> 0
        on conflict (space_id, status, is_deleted) do update set n = c.n + excluded.n
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
    delete from space_run_counts;
    delete from run_days;
    delete from run_windows;
    insert into run_days (pipeline_id, day, status, is_deleted, space_id, n, durations, duration_sum)
        select pipeline_id, (counted_at at time zone 'UTC')::date, status, deleted_at is not null, space_id, count(*),
            count(duration_seconds) filter (where status in ('success', 'failed')),
            coalesce(sum(duration_seconds::numeric) filter (where status in ('success', 'failed')), 0)
        from runs group by 1, 2, 3, 4, 5;
    insert into run_counts (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, is_deleted, space_id, sum(n) from run_days group by 1, 2, 3, 4;
    insert into space_run_counts (space_id, status, is_deleted, n)
        select space_id, status, is_deleted, sum(n) from run_counts group by 1, 2, 3;
    select fill_run_windows();
$$;

insert into space_run_counts (space_id, status, is_deleted, n)
    select space_id, status, is_deleted, sum(n) from run_counts group by 1, 2, 3;
