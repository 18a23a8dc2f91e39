-- no-transaction
-- The sync of a connector that ended last. Syncs of a connector do not overlap, so that it is also the one that began last.
create index concurrently if not exists syncs_finished on syncs (connector_id, finished_at, id) where finished_at is not null;
