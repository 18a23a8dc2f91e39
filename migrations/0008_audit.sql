-- Who did what. Written in the transaction of the act itself, and never changed afterwards: neither the worker's role
-- nor the API's may. Secrets have no place in it.

create table audit (
    id uuid primary key,
    -- Null where the act touches no space.
    space_id uuid references spaces,
    at timestamptz not null default clock_timestamp(),
    -- Null where nobody's key was used: at the command line, or for a request that came over Kafka.
    actor_id uuid references users,
    via text not null check (via in ('api', 'cli', 'kafka')),
    action text not null,
    target_type text not null,
    target_id uuid not null,
    details jsonb not null
);
create index audit_space on audit (space_id, at desc, id desc);
create index audit_target on audit (target_id, at desc, id desc);
