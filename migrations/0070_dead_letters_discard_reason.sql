-- Why an operator closed a dead letter without sending it again; null for those that were sent.
alter table dead_letters add column discard_reason text;
-- Each sync is inserted once and updated a few times, and most are removed after a day.
alter table syncs set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
