-- The large tables are vacuumed and analyzed after a fiftieth of their rows has changed, not a fifth: totals and deep
-- pages are read from indexes alone, which works as far as vacuum has come, and at 40 million rows a fifth takes weeks to
-- change.
alter table runs set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);
alter table task_runs set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);
