-- The queue of syncs: a row for each sync that is queued or running, and none for one that has ended. Schedules, claims and
-- the lengths of the queue read it instead of `syncs`, so that the number of finished syncs does not matter to them.
--
-- It follows `syncs` by a trigger, in the transaction that changes a sync, whichever version of a program changes it. The
-- previous version neither reads nor writes it.
create table sync_queue (
    connector_id uuid not null,
    sync_id uuid not null,
    status text not null,
    trigger text not null,
    requested_at timestamptz not null,
    accepted_at timestamptz,
    primary key (connector_id, sync_id)
) with (
    -- A row lives for seconds. Its update fits into its page, and vacuum removes it within minutes. The table needs no
    -- truncation, which would lock it.
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 500, vacuum_truncate = off
);
create index sync_queue_requested on sync_queue (requested_at);

-- Runs with the owner's rights: a program changes the queue only by changing a sync.
create function update_sync_queue() returns trigger language plpgsql
security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    -- `new` is null when a sync is deleted.
    if new.status in ('queued', 'running') then
        insert into sync_queue (connector_id, sync_id, status, trigger, requested_at, accepted_at)
            values (new.connector_id, new.id, new.status, new.trigger, new.requested_at, new.accepted_at)
        on conflict (connector_id, sync_id) do update set
            status = excluded.status, trigger = excluded.trigger, requested_at = excluded.requested_at,
            accepted_at = excluded.accepted_at;
    else
        delete from sync_queue where connector_id = old.connector_id and sync_id = old.id;
    end if;
    return null;
end $$;

create trigger syncs_queued after insert on syncs for each row
    when (new.status in ('queued', 'running')) execute function update_sync_queue();
create trigger syncs_changed after update on syncs for each row
    when ((old.status in ('queued', 'running') or new.status in ('queued', 'running'))
        and (old.status, old.trigger, old.requested_at, old.accepted_at)
            is distinct from (new.status, new.trigger, new.requested_at, new.accepted_at))
    execute function update_sync_queue();
create trigger syncs_deleted after delete on syncs for each row
    when (old.status in ('queued', 'running')) execute function update_sync_queue();
revoke execute on function update_sync_queue() from public;

-- Since the triggers were created no other transaction can write to `syncs` before this one ends, so that no sync is missing.
insert into sync_queue (connector_id, sync_id, status, trigger, requested_at, accepted_at)
    select connector_id, id, status, trigger, requested_at, accepted_at from syncs where status in ('queued', 'running');
