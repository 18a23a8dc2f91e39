-- How often in a row a pipeline was deactivated, and when last: one that comes back again and again is kept active, since
-- `kept_active_since`, until it has been gone for long.
alter table pipeline_crawls
    add column deactivations int not null default 0,
    add column deactivated_at timestamptz,
    add column kept_active_since timestamptz;
