-- no-transaction
create index concurrently if not exists syncs_space on syncs (space_id, requested_at desc, id desc);
