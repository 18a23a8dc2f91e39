-- When a full sync of the connector is to be requested, such as after a rebuild: not all of them at once.
alter table connector_state add column full_sync_at timestamptz;
create index connector_state_full_sync on connector_state (full_sync_at) where full_sync_at is not null;
