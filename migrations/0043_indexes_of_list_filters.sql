-- Indexes for lists of runs. They are in ascending order, because new rows then fill the last page of their space or
-- pipeline; a page of the newest is read backwards. What most runs are, successful and scheduled, is found soon without
-- an index; those on the rest are small.

-- allowed: no release has rows here yet
create index runs_space_ordered on runs (space_id, ordered_at, id) include (deleted_at, status, run_type, pipeline_id, started_at);
-- allowed: no release has rows here yet
create index runs_pipeline_ordered on runs (pipeline_id, ordered_at, id) include (deleted_at, status, run_type, started_at);
-- allowed: no release has rows here yet
create index runs_pipeline_counted on runs (pipeline_id, counted_at, id)
    include (status, run_type, duration_seconds, started_at, ended_at, ordered_at) where deleted_at is null;
-- allowed: no release has rows here yet
create index runs_space_status on runs (space_id, status, started_at, id)
    include (deleted_at, run_type, pipeline_id, ordered_at) where status <> 'success';
-- allowed: no release has rows here yet
create index runs_space_status_ended on runs (space_id, status, ended_at, id)
    include (deleted_at, run_type, pipeline_id, ordered_at) where status in ('failed', 'unknown');
-- allowed: no release has rows here yet
create index runs_space_type on runs (space_id, run_type, status, started_at, id)
    include (deleted_at, pipeline_id, ordered_at, ended_at, duration_seconds) where run_type <> 'scheduled';
-- allowed: no release has rows here yet
create index runs_space_status_ordered on runs (space_id, status, ordered_at, id)
    include (deleted_at, run_type, pipeline_id) where status <> 'success';
-- allowed: no release has rows here yet
create index runs_space_type_ordered on runs (space_id, run_type, ordered_at, id)
    include (deleted_at, status, pipeline_id) where run_type <> 'scheduled';
-- Runs whose times are out of order: started before they were due, or ended before they started. There are hardly any.
-- allowed: no release has rows here yet
create index runs_disordered on runs (id)
    where started_at < ordered_at or ended_at < started_at or ended_at < ordered_at;
-- allowed: no release has rows here yet
create index runs_pipeline_status on runs (pipeline_id, status, ordered_at, id)
    include (deleted_at, run_type, started_at) where status <> 'success';
-- allowed: no release has rows here yet
create index runs_pipeline_type on runs (pipeline_id, run_type, ordered_at, id)
    include (deleted_at, status, started_at) where run_type <> 'scheduled';

create index audit_actor on audit (space_id, actor_id, at, id) include (action);
create index audit_action on audit (space_id, action, at, id);
