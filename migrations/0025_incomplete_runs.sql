-- Runs older than any history of which only some task runs may be stored: a later poll reads all of them.
create table incomplete_runs (
    connector_id uuid not null references connectors,
    pipeline_external_id text not null,
    external_id text not null,
    inserted_at timestamptz not null default now(),
    primary key (connector_id, pipeline_external_id, external_id)
);
