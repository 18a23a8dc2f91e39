-- The metrics of a pipeline count its deleted runs on request, from the same index.

-- allowed: no release has rows here yet
drop index runs_pipeline_counted;
-- allowed: no release has rows here yet
create index runs_pipeline_counted on runs (pipeline_id, counted_at, id)
    include (deleted_at, status, run_type, duration_seconds, started_at, ended_at, ordered_at);
-- What is found by it, the index by the start finds as well.
-- allowed: no release has rows here yet
drop index runs_space_counted;
-- The counts of a space have a table of their own.
drop index run_counts_space;
