-- no-transaction
create index concurrently if not exists pipelines_due on pipelines (next_run_at)
    where is_active and not is_paused and deleted_at is null and next_run_at is not null;
