-- A deep page of the syncs of a connector is found in the index alone, which also knows the space.

-- allowed: no release has rows here yet
drop index syncs_connector;
-- allowed: no release has rows here yet
create index syncs_connector on syncs (connector_id, requested_at, id) include (space_id);
