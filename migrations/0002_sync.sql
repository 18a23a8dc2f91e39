-- The worker's own progress: which connector is due, who syncs it, how far it came, what is still to be sent.

-- Orders observations without clocks: a value is taken before each page is asked for, so a later answer always
-- carries a higher version, whichever worker asked.
create sequence observation_version;

create table connector_state (
    connector_id uuid primary key references connectors,
    next_due_at timestamptz,
    missed_ticks bigint not null default 0,
    -- The lease: only its holder may move the cursor, and the epoch tells a holder that it has lost it.
    lease_owner text,
    lease_epoch bigint not null default 0,
    lease_until timestamptz,
    -- The provider's clock at the start of the last complete poll; a reader subtracts the overlap.
    cursor_at timestamptz,
    -- When the last complete poll began, by our clock: every row of the connector was true then.
    confirmed_at timestamptz,
    last_success_at timestamptz,
    -- Set while the provider refuses the credentials: schedules pass over the connector until they change.
    credentials_refused_at timestamptz,
    -- Failures in a row; after some of them schedules rest until `retry_at`.
    failures int not null default 0,
    retry_at timestamptz
);
create index connector_state_due on connector_state (next_due_at) where next_due_at is not null;

create table syncs (
    id uuid primary key,
    space_id uuid not null references spaces,
    connector_id uuid not null references connectors,
    status text not null check (status in ('queued', 'running', 'succeeded', 'failed')),
    trigger text not null check (trigger in ('schedule', 'manual', 'trigger')),
    "full" boolean not null default false,
    accept_mass_deletion boolean not null default false,
    requested_by uuid references users,
    requested_at timestamptz not null,
    -- Set once the request has come back from Kafka (or was a tick): only then may a runner take it.
    accepted_at timestamptz,
    tick_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    attempts int not null default 0,
    error text,
    report jsonb not null default '{}',
    version bigint not null default nextval('observation_version'),
    unique (connector_id, tick_at)
);
create index syncs_connector on syncs (connector_id, requested_at desc, id desc);
create index syncs_open on syncs (requested_at, id) where status in ('queued', 'running');

-- Which pipelines' histories have been read through, and when: a first sync, a full one and a resumed one are the same
-- question, "which have not been read since?".
create table pipeline_crawls (
    connector_id uuid not null references connectors,
    external_id text not null,
    crawled_at timestamptz,
    history_days int not null default 0,
    -- How many complete listings in a row did not name it.
    absences int not null default 0,
    primary key (connector_id, external_id)
);

create table outbox (
    id bigint generated always as identity primary key,
    topic jsonb not null,
    key text not null,
    headers jsonb not null,
    payload bytea not null,
    created_at timestamptz not null default now()
);

create table projection_offsets (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

create table dead_letters (
    id uuid primary key,
    topic text not null,
    partition int not null,
    "offset" bigint not null,
    key bytea,
    headers jsonb not null,
    payload bytea,
    error text not null,
    created_at timestamptz not null default now(),
    replayed_at timestamptz,
    unique (topic, partition, "offset")
);
