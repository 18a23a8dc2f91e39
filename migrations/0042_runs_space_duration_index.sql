-- no-transaction
create index concurrently if not exists runs_space_duration on runs (space_id, duration_seconds, id)
    include (deleted_at, status, run_type, pipeline_id, ordered_at, started_at);
