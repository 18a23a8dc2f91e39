-- Commands to trigger a run, each written down before anything is sent: a repeat finds the run id that was chosen the
-- first time, and a run that shows up is known to be ours whoever sees it first.

create table triggers (
    id uuid primary key,
    space_id uuid not null references spaces,
    connector_id uuid not null references connectors,
    pipeline_id uuid not null,
    user_id uuid not null references users,
    -- The id that the run shall have at the provider, and so here.
    run_external_id text not null,
    run_id uuid not null,
    -- Taken away after 24 hours, so that the key may mean something new.
    idempotency_key text,
    command_sha256 bytea not null,
    -- Until then one process is at it, and nobody else sends.
    attempt_until timestamptz not null,
    attempts int not null default 1,
    -- The first answer that will not change any more.
    answer_status int,
    answer json,
    created_at timestamptz not null default now()
);
create unique index triggers_key on triggers (pipeline_id, user_id, idempotency_key)
    where idempotency_key is not null;
create index triggers_run on triggers (run_id);
