-- The days of the runs that are there, and the latest of them. In one statement, so that each change is either among the
-- runs that it counts or still among the changes.
with taken as (
    delete from run_changes returning *
), counts as (
    insert into run_counts as c (pipeline_id, status, is_deleted, space_id, n)
        select pipeline_id, status, is_deleted, space_id, sum(n) from taken group by 1, 2, 3, 4 having sum(n) <> 0
    on conflict (pipeline_id, status, is_deleted) do update set n = c.n + excluded.n
), marked as (
    insert into pipeline_metrics as m (pipeline_id, space_id, latest_status, latest_at)
        select p.pipeline_id, p.space_id, r.status, r.ordered_at
        from (select distinct pipeline_id, space_id from runs) p
        left join lateral (
            select status, ordered_at from runs where runs.pipeline_id = p.pipeline_id and runs.deleted_at is null
            order by ordered_at desc, id desc limit 1) r on true
    on conflict (pipeline_id) do update set
        revision = m.revision + 1, space_id = excluded.space_id, latest_status = excluded.latest_status,
        latest_at = excluded.latest_at
)
insert into run_days (pipeline_id, day, status, is_deleted, space_id, n, durations, duration_sum)
    select pipeline_id, (counted_at at time zone 'UTC')::date, status, deleted_at is not null, space_id, count(*),
        count(duration_seconds) filter (where status in ('success', 'failed')),
        coalesce(sum(duration_seconds::numeric) filter (where status in ('success', 'failed')), 0)
    from runs group by 1, 2, 3, 4, 5;
select fill_run_windows();
