-- Text in the run ids of one pipeline is found in the index alone, which also knows the ids.

-- allowed: no release has rows here yet
drop index runs_pipeline_ordered;
-- allowed: no release has rows here yet
create index runs_pipeline_ordered on runs (pipeline_id, ordered_at, id)
    include (deleted_at, status, run_type, started_at, external_id);
