-- Indexes for the filters of lists of syncs. Most syncs have succeeded and were scheduled, and are found without one.

-- allowed: no release has rows here yet
create index syncs_space_changed on syncs (space_id,
    (status = 'failed' or coalesce((report->>'events_published')::bigint, 0) > 0), requested_at, id) include (connector_id);
-- allowed: no release has rows here yet
create index syncs_connector_changed on syncs (connector_id,
    (status = 'failed' or coalesce((report->>'events_published')::bigint, 0) > 0), requested_at, id);
-- allowed: no release has rows here yet
create index syncs_space_status on syncs (space_id, status, requested_at, id) include (connector_id)
    where status <> 'succeeded';
-- allowed: no release has rows here yet
create index syncs_space_trigger on syncs (space_id, trigger, requested_at, id) include (connector_id)
    where trigger <> 'schedule';
-- allowed: no release has rows here yet
create index syncs_connector_status on syncs (connector_id, status, requested_at, id) where status <> 'succeeded';
-- allowed: no release has rows here yet
create index syncs_connector_trigger on syncs (connector_id, trigger, requested_at, id) where trigger <> 'schedule';
