-- When the pipeline was learned for the first time. Failures that are more than a day older open no incident: they are
-- history, of before an upgrade or before the connector was registered.
alter table expectations add column watched_from timestamptz not null default now();
