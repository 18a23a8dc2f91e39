-- What a pipeline's runs are expected to do, learned from its finished runs. A worker keeps these tables beside the read
-- model, and can make them anew from it; `signals` is history and is only made once.

-- The runs that expectations are learned from: successful ones that were scheduled or triggered by assets.
create table run_samples (
    run_id uuid primary key,
    pipeline_id uuid not null,
    -- The version of the run's row that the sample was taken from.
    version bigint not null,
    due_at timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    -- False for a run with a task of several tries, and for one that was created when the next one was due already.
    is_regular boolean not null,
    -- Whether the run was slow or late by the expectations of its time.
    is_flagged boolean not null default false
);
create index run_samples_pipeline on run_samples (pipeline_id, due_at desc, run_id);

-- One row for each pipeline that has been looked at.
create table expectations (
    pipeline_id uuid primary key,
    space_id uuid not null,
    -- The zone of the schedule's wall clock.
    zone text not null,
    -- The revision of `pipeline_metrics` that was learned.
    revision bigint not null,
    -- The failed runs since the last success, up to a limit, and the newest and oldest of them.
    failures int not null,
    failed_run_id uuid,
    failed_at timestamptz,
    first_failed_run_id uuid,
    first_failed_at timestamptz,
    -- The latest finished run, if it was slow.
    slow_run_id uuid
);
create index expectations_failed on expectations (pipeline_id) where failed_run_id is not null;
create index expectations_slow on expectations (pipeline_id) where slow_run_id is not null;

-- The expectations of a pipeline by the class of a run's due time; only classes with enough runs.
create table expectation_classes (
    pipeline_id uuid not null,
    class text not null check (class in ('hour_of_week', 'day_kind_hour', 'day_kind', 'all')),
    class_key int not null,
    runs int not null,
    duration_p50_seconds double precision not null,
    duration_p95_seconds double precision not null,
    slow_after_seconds double precision not null,
    -- After the due time.
    start_p95_seconds double precision not null,
    finish_after_seconds double precision not null,
    primary key (pipeline_id, class, class_key)
);

-- One row for each run or due time for which a pipeline was slow or late, so that it is counted once.
create table signals (
    pipeline_id uuid not null,
    kind text not null,
    -- The run's id, or the due time.
    occurrence text not null,
    at timestamptz not null default now(),
    primary key (pipeline_id, kind, occurrence)
);
create index signals_at on signals (at);

-- When a run was due: where the provider does not say, the end of its data interval is the time for a scheduled run.
create function run_due_at(
    run_type text, run_after timestamptz, data_interval_end timestamptz, queued_at timestamptz, ordered_at timestamptz)
returns timestamptz language sql immutable as $$
    select case when run_type = 'scheduled' then coalesce(run_after, data_interval_end, ordered_at)
        else coalesce(run_after, queued_at, ordered_at) end
$$;

-- The classes of a due time by the wall clock of a zone, the finest first.
create function expectation_class_keys(due timestamptz, zone text)
returns table (class text, class_key int, fineness int) language sql stable rows 4 as $$
    select k.* from (
        select extract(isodow from due at time zone zone)::int as day, extract(hour from due at time zone zone)::int as hour
    ) clock cross join lateral (values
        ('hour_of_week', (day - 1) * 24 + hour, 0), ('day_kind_hour', (day > 5)::int * 24 + hour, 1),
        ('day_kind', (day > 5)::int, 2), ('all', 0, 3)) as k (class, class_key, fineness)
$$;

-- What is expected of a run that is due at this time: from the finest class that has enough runs. No row while the
-- pipeline is being learned.
create function expectation_at(pipeline uuid, due timestamptz)
returns setof expectation_classes language sql stable rows 1 as $$
    select c.* from expectations e cross join lateral expectation_class_keys(due, e.zone) k
    join expectation_classes c on c.pipeline_id = e.pipeline_id and c.class = k.class and c.class_key = k.class_key
    where e.pipeline_id = pipeline order by k.fineness limit 1
$$;
