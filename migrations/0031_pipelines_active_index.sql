-- no-transaction
create index concurrently if not exists pipelines_active on pipelines (connector_id) where is_active;
