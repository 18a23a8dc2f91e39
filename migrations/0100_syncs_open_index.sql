-- no-transaction
-- Claims find open syncs in `sync_queue`. The previous version finds them by `syncs_space_status` and `syncs_connector_status`.
drop index concurrently if exists syncs_open;
