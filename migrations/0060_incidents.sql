-- Signals of one pipeline and kind, from the first one until the pipeline is well again. The worker opens, counts and
-- resolves them; members acknowledge and mute them.
create table incidents (
    -- Derived from the pipeline or connector, the kind, and the run or due time that opened it: opening it again, after a
    -- crash or by another worker, is the same row.
    id uuid primary key,
    space_id uuid not null references spaces,
    connector_id uuid not null,
    -- Null for `connector_stale` alone. No foreign key: pipelines belong to the read model, which is rebuilt.
    pipeline_id uuid,
    kind text not null check (kind in ('failing', 'late_start', 'late_finish', 'slow', 'connector_stale')),
    status text not null default 'open' check (status in ('open', 'acknowledged', 'resolved')),
    opened_at timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by uuid references users,
    muted_until timestamptz,
    resolved_at timestamptz,
    -- How many runs or due times it has counted, the first one included.
    count integer not null default 1,
    last_run_id uuid,
    summary text not null,
    evidence jsonb not null,
    -- Orders the events of an incident.
    version bigint not null default nextval('observation_version'),
    updated_at timestamptz not null default now(),
    constraint incidents_subject check ((kind = 'connector_stale') = (pipeline_id is null)),
    constraint incidents_end check ((status = 'resolved') = (resolved_at is not null))
);
create unique index incidents_unresolved on incidents (coalesce(pipeline_id, connector_id), kind)
    where status <> 'resolved';
create index incidents_space on incidents (space_id, opened_at desc, id desc);
create index incidents_space_unresolved on incidents (space_id, opened_at desc, id desc) where status <> 'resolved';
create index incidents_pipeline on incidents (pipeline_id, opened_at desc, id desc);
create index incidents_resolved on incidents (resolved_at, id) where status = 'resolved';

-- The transitions of incidents, in the order of their ids, from the transaction of each. Whoever sends notifications reads
-- and deletes them.
create table incident_changes (
    id bigint generated always as identity primary key,
    incident_id uuid not null references incidents on delete cascade,
    change text not null check (change in ('opened', 'counted', 'acknowledged', 'muted', 'resolved', 'reopened')),
    at timestamptz not null default now()
);
create index incident_changes_incident on incident_changes (incident_id);
