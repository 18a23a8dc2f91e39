-- no-transaction
create index concurrently if not exists runs_space_started on runs (space_id, started_at, id)
    include (deleted_at, status, run_type, pipeline_id, ordered_at, duration_seconds);
