-- no-transaction
create index concurrently if not exists runs_space_ended on runs (space_id, ended_at, id)
    include (deleted_at, status, run_type, pipeline_id, ordered_at);
