-- How far a list of changes was read that is ahead of `cursor_at`, because the provider refuses the other one or
-- does not answer it; null where it is not ahead.
alter table connector_state add column runs_cursor_at timestamptz, add column task_runs_cursor_at timestamptz;
