-- A comment is on a run, on a task run, or on an incident; one on an incident has no run, and goes with its incident.
alter table comments add column incident_id uuid references incidents on delete cascade;
alter table comments alter column run_id drop not null;
alter table comments add constraint comments_target check ((run_id is null) = (incident_id is not null)) not valid;

-- As before, and an incident that is gone takes no comment either.
create or replace function hold_commented_run() returns trigger language plpgsql
security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    if new.incident_id is null then
        perform from runs where id = new.run_id for key share;
    else
        perform from incidents where id = new.incident_id for key share;
    end if;
    if not found then
        return null;
    end if;
    return new;
end $$;
