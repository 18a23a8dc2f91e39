-- no-transaction
create index concurrently if not exists runs_space_counted on runs (space_id, counted_at)
    include (pipeline_id, status, duration_seconds, deleted_at);
