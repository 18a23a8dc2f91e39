-- How long things are kept. The topics keep their last word on everything; what is removed here is removed from
-- PostgreSQL alone.

create table retention (
    what text primary key,
    -- As the worker was told when it last started; null for ever. Read wherever something old might come back.
    days int check (days > 0),
    -- Set ahead while one worker is at it, so that no other begins. The same for all that is looked for together.
    next_pass_at timestamptz not null default now()
);

-- allowed: a row for each run that people have triggered here, which no release had years to gather
create index triggers_created on triggers (created_at);
create index dead_letters_replayed on dead_letters (replayed_at) where replayed_at is not null;

-- Whether nothing but its age could keep a run, and it is too old for that: it ended (or is gone at the provider) before
-- then, nobody commented on it or on its tasks, and it is not the latest of its pipeline. Asks the live read model,
-- also where another one is made beside it.
create function may_go(run uuid, before timestamptz) returns boolean language sql stable as $$
    select exists (
        select from public.runs r where r.id = run
            and (r.status in ('success', 'failed') or r.deleted_at is not null)
            and coalesce(greatest(r.run_after, r.logical_date, r.queued_at, r.started_at, r.ended_at), r.observed_at) < before
            and (r.deleted_at is not null or exists (
                select from public.runs later where later.pipeline_id = r.pipeline_id and later.deleted_at is null
                    and (later.ordered_at, later.id) > (r.ordered_at, r.id)))
            and not exists (select from public.comments c where c.run_id = run and c.task_run_id is null)
            and not exists (select from public.comments c where c.run_id = run and c.task_run_id is not null))
$$;

-- A comment keeps its run: whoever removes a run waits for no comment that is being written, passes over the run, and
-- sees the comment the next time. A run that is gone takes no comment.
create function hold_commented_run() returns trigger language plpgsql
security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    perform from runs where id = new.run_id for key share;
    if not found then
        return null;
    end if;
    return new;
end $$;
create trigger comments_hold_run before insert on comments for each row execute function hold_commented_run();
