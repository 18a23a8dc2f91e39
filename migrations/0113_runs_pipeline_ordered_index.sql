-- The newest runs of a pipeline by their end or their duration are read from the index alone.

-- allowed: no release has rows here yet
drop index runs_pipeline_ordered;
-- allowed: no release has rows here yet
create index runs_pipeline_ordered on runs (pipeline_id, ordered_at, id)
    include (deleted_at, status, run_type, started_at, external_id, ended_at, duration_seconds);
