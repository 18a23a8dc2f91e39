-- When a pipeline that was paused or gone was last seen to be scheduled again. What was due before is not late. It is not
-- part of the read model, because a compacted topic no longer has the events that say so.
create table pipeline_resumptions (
    pipeline_id uuid primary key,
    resumed_at timestamptz not null
);
