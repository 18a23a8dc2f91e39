-- Indexes for the reads of the API.

-- What counts and filters a list's rows stands in the index, so that totals and deep pages read no rows at all.
drop index runs_pipeline;
create index runs_pipeline on runs (pipeline_id, ordered_at desc, id desc) include (deleted_at, status, run_type);
drop index runs_space;
create index runs_space on runs (space_id, ordered_at desc, id desc) include (deleted_at, status, run_type, pipeline_id);
create index runs_triggered_by on runs (triggered_by_id, ordered_at desc, id desc) where triggered_by_id is not null;

-- Names sort without regard to case, by a rule that is the same on every server.
drop index pipelines_space_name;
create index pipelines_space_name on pipelines (space_id, (lower(name collate "und-x-icu") collate "C"), id);

-- A run is shown with the number of comments on each of its tasks.
create index comments_tasks_of_run on comments (run_id) include (task_run_id) where task_run_id is not null;
