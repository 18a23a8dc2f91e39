-- Since when a user may not sign in, and none of their keys and sessions is valid.
alter table users add column disabled_at timestamptz;
