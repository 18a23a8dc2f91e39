-- A deep page of the comments on a run is found in the index alone, which also knows the space.

-- allowed: no release has rows here yet
drop index comments_run;
-- allowed: no release has rows here yet
create index comments_run on comments (run_id, created_at, id) include (space_id) where task_run_id is null;
