-- The read model: what the topics say, and nothing else. No foreign keys, because topics carry no order between
-- entities; everything here can be made anew from Kafka. `log_offset` is where in its partition a row's record stood:
-- an older record found behind it must not have the last word when the topic is compacted.

create table pipelines (
    id uuid primary key,
    space_id uuid not null,
    connector_id uuid not null,
    provider text not null,
    external_id text not null,
    version bigint not null,
    fingerprint bytea not null,
    log_offset bigint not null,
    observed_at timestamptz not null,
    first_seen_at timestamptz not null,
    deleted_at timestamptz,
    name text not null,
    description text,
    owner text,
    owners text[] not null,
    tags text[] not null,
    schedule text,
    is_paused boolean not null,
    is_active boolean not null,
    external_url text,
    next_run_at timestamptz,
    provider_metadata jsonb not null,
    tasks jsonb not null
);
create index pipelines_space_name on pipelines (space_id, lower(name), id);
create index pipelines_connector on pipelines (connector_id);

create table runs (
    id uuid primary key,
    space_id uuid not null,
    connector_id uuid not null,
    pipeline_id uuid not null,
    provider text not null,
    external_id text not null,
    version bigint not null,
    fingerprint bytea not null,
    log_offset bigint not null,
    observed_at timestamptz not null,
    deleted_at timestamptz,
    status text not null,
    provider_status text,
    run_type text not null,
    logical_date timestamptz,
    data_interval_start timestamptz,
    data_interval_end timestamptz,
    run_after timestamptz,
    queued_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    duration_seconds double precision,
    conf jsonb not null,
    note text,
    triggered_by_id uuid,
    triggered_by_name text,
    external_url text,
    -- The time that orders runs, newest first: never null, so that a missing logical date makes no run look old.
    ordered_at timestamptz not null
        generated always as (coalesce(run_after, logical_date, queued_at, started_at, 'epoch'::timestamptz)) stored,
    -- The time that puts a run into a window of metrics: its start, or its queue time before that.
    counted_at timestamptz not null
        generated always as (coalesce(started_at, queued_at, run_after, logical_date, 'epoch'::timestamptz)) stored
);
create index runs_pipeline on runs (pipeline_id, ordered_at desc, id desc);
create index runs_space on runs (space_id, ordered_at desc, id desc);
create index runs_metrics on runs (pipeline_id, counted_at) include (status, duration_seconds, ended_at) where deleted_at is null;
create index runs_unfinished on runs (connector_id) where status in ('queued', 'running', 'unknown') and deleted_at is null;

create table task_runs (
    id uuid primary key,
    space_id uuid not null,
    connector_id uuid not null,
    pipeline_id uuid not null,
    run_id uuid not null,
    provider text not null,
    external_id text not null,
    version bigint not null,
    fingerprint bytea not null,
    log_offset bigint not null,
    observed_at timestamptz not null,
    deleted_at timestamptz,
    task_id text not null,
    map_index int not null,
    name text not null,
    operator text,
    status text not null,
    provider_status text,
    try_number int not null,
    max_tries int not null,
    queued_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    duration_seconds double precision,
    pool text,
    queue text,
    hostname text
);
create index task_runs_run on task_runs (run_id, task_id, map_index) include (status) where deleted_at is null;
create index task_runs_run_deleted on task_runs (run_id) where deleted_at is not null;
