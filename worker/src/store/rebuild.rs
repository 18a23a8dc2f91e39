//! SQL of the rebuild: fresh tables of the read model beside the live ones, and the swap.

use sqlx::PgConnection;

/// Takes the lock of rebuilds until the end of the session, whose statements have no timeout from now on;
/// false while another session holds the lock.
pub(crate) async fn try_begin(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql("set statement_timeout = 0").execute(&mut *db).await?;
    sqlx::query_scalar("select pg_try_advisory_lock(hashtext('rebuild'))").fetch_one(db).await
}

/// Creates empty tables in the schema `rebuild`, with the settings of the live ones. This session finds them
/// before the live ones from now on.
pub(crate) async fn create_fresh_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(FRESH_TABLES).execute(db).await?;
    Ok(())
}

const FRESH_TABLES: &str = "
    drop schema if exists rebuild cascade;
    create schema rebuild;
    create table rebuild.pipelines (like public.pipelines including all);
    create table rebuild.runs (like public.runs including all);
    create table rebuild.task_runs (like public.task_runs including all);
    -- `including all` leaves out the storage parameters of the tables.
    do $$
    declare
        live record;
    begin
        for live in select relname, array_to_string(reloptions, ', ') as options from pg_class
            where oid in ('public.pipelines'::regclass, 'public.runs'::regclass, 'public.task_runs'::regclass)
                and reloptions is not null
        loop
            execute format('alter table rebuild.%I set (%s)', live.relname, live.options);
        end loop;
    end $$;
    -- This session finds the fresh tables before the live ones.
    set search_path = rebuild, public";

/// Replaces the live tables by the fresh ones. Indexes keep the names of the live ones, so that later
/// migrations find them; triggers are created again, and owners and privileges stay.
pub(crate) async fn swap_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(SWAP).execute(db).await?;
    Ok(())
}

const SWAP: &str = "
    do $$
    declare
        names jsonb;
        renamed record;
        statements text[];
        statement text;
    begin
        with old as (
            select oid, relname, relowner, relacl from pg_class where oid in
                ('public.pipelines'::regclass, 'public.runs'::regclass, 'public.task_runs'::regclass))
        select array_agg(made) into statements from (
            select pg_get_triggerdef(t.oid) as made from pg_trigger t join old on old.oid = t.tgrelid
            where not t.tgisinternal
            union all
            select format('alter table public.%I owner to %I', relname, pg_get_userbyid(relowner)) from old
            union all
            select format('grant %s on public.%I to %I',
                acl.privilege_type, relname, pg_get_userbyid(acl.grantee))
            from old, aclexplode(relacl) acl where acl.grantee not in (0, relowner)) definitions;
        select jsonb_object_agg(fresh.indexname, old.indexname) into names
        from pg_indexes fresh join pg_indexes old
            on old.schemaname = 'public' and old.tablename = fresh.tablename
            and split_part(old.indexdef, ' USING ', 2) = split_part(fresh.indexdef, ' USING ', 2)
        where fresh.schemaname = 'rebuild';
        drop table public.pipelines, public.runs, public.task_runs;
        alter table rebuild.pipelines set schema public;
        alter table rebuild.runs set schema public;
        alter table rebuild.task_runs set schema public;
        drop schema rebuild;
        for renamed in select key, value from jsonb_each_text(names) where key <> value loop
            execute format('alter index public.%I rename to %I', renamed.key, renamed.value);
        end loop;
        foreach statement in array statements loop
            execute statement;
        end loop;
        perform count_all_runs();
    end $$";

/// The highest log offsets in the rows of pipelines, runs and task runs.
pub(crate) async fn find_last_log_offsets(db: &mut PgConnection) -> sqlx::Result<[Option<i64>; 3]> {
    let (pipelines, runs, task_runs) = sqlx::query_as(
        "select (select max(log_offset) from pipelines), (select max(log_offset) from runs),
             (select max(log_offset) from task_runs)",
    )
    .fetch_one(db)
    .await?;
    Ok([pipelines, runs, task_runs])
}
