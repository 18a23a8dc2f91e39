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
    create table rebuild.pipeline_metrics (like public.pipeline_metrics including all);
    create table rebuild.run_changes (like public.run_changes including all);
    create table rebuild.run_counts (like public.run_counts including all);
    create table rebuild.space_run_counts (like public.space_run_counts including all);
    create table rebuild.run_days (like public.run_days including all);
    create table rebuild.run_windows (like public.run_windows including all);
    create table rebuild.run_window_day (like public.run_window_day including all);
    insert into rebuild.run_window_day select * from public.run_window_day;
    -- `including all` leaves out the storage parameters and the triggers of the tables. The triggers of runs
    -- count them in the fresh tables, because this session finds those.
    do $$
    declare
        live record;
    begin
        for live in select old.relname, array_to_string(old.reloptions, ', ') as options from pg_class old
            join pg_class fresh
                on fresh.relname = old.relname and fresh.relnamespace = 'rebuild'::regnamespace
            where old.relnamespace = 'public'::regnamespace and old.relkind = 'r'
                and old.reloptions is not null
        loop
            execute format('alter table rebuild.%I set (%s)', live.relname, live.options);
        end loop;
        for live in select pg_get_triggerdef(oid) as definition from pg_trigger
            where tgrelid = 'public.runs'::regclass and not tgisinternal
        loop
            execute replace(live.definition, ' ON public.runs ', ' ON rebuild.runs ');
        end loop;
    end $$;
    -- This session finds the fresh tables before the live ones.
    set search_path = rebuild, public";

/// Collects the statistics of the fresh tables, without which reads after the swap would get bad plans.
pub(crate) async fn analyze_fresh_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "analyze pipelines, runs, task_runs, pipeline_metrics, run_changes, run_counts, space_run_counts,
             run_days, run_windows, run_window_day",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Locks the live tables and then their offsets, in the order of a projection. A lock that is not free within
/// two seconds is an error, so that readers do not wait for long behind this session.
pub(crate) async fn lock_for_swap(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(LOCK_FOR_SWAP).execute(db).await?;
    Ok(())
}

const LOCK_FOR_SWAP: &str = "
    set local lock_timeout = '2s';
    do $$
    declare
        fresh name;
    begin
        foreach fresh in array array(select tablename from pg_tables where schemaname = 'rebuild' order by 1)
        loop
            execute format('lock table public.%I in access exclusive mode', fresh);
        end loop;
        lock table projection_offsets in exclusive mode;
    end $$";

/// Whether a statement failed because another session holds a lock.
pub(crate) fn is_lock_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // lock_not_available and deadlock_detected.
    code.is_some_and(|code| ["55P03", "40P01"].contains(&code.as_ref()))
}

/// Replaces the live tables by the fresh ones, whose runs are counted already. Indexes and statistics keep
/// the names of the live ones, so that later migrations find them; triggers are created again, and owners and
/// privileges stay.
pub(crate) async fn swap_tables(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(SWAP).execute(db).await?;
    Ok(())
}

const SWAP: &str = "
    do $$
    declare
        names jsonb;
        statistics jsonb;
        renamed record;
        statements text[];
        statement text;
    begin
        with old as (
            select live.oid, live.relname, live.relowner, live.relacl from pg_class live
            join pg_class fresh
                on fresh.relname = live.relname and fresh.relnamespace = 'rebuild'::regnamespace
            where live.relnamespace = 'public'::regnamespace and live.relkind = 'r')
        select array_agg(made) into statements from (
            select pg_get_triggerdef(t.oid) as made from pg_trigger t join old on old.oid = t.tgrelid
            where not t.tgisinternal and old.relname <> 'runs'
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
        select jsonb_object_agg(fresh.stxname, old.stxname) into statistics
        from pg_statistic_ext fresh join pg_statistic_ext old
            on old.stxnamespace = 'public'::regnamespace
            and pg_get_statisticsobjdef_expressions(old.oid) = pg_get_statisticsobjdef_expressions(fresh.oid)
        where fresh.stxnamespace = 'rebuild'::regnamespace;
        drop table public.pipelines, public.runs, public.task_runs, public.pipeline_metrics,
            public.run_changes, public.run_counts, public.space_run_counts, public.run_days,
            public.run_windows, public.run_window_day;
        for renamed in select relname from pg_class
            where relnamespace = 'rebuild'::regnamespace and relkind = 'r'
        loop
            execute format('alter table rebuild.%I set schema public', renamed.relname);
        end loop;
        for renamed in select key, value from jsonb_each_text(statistics) loop
            execute format('alter statistics rebuild.%I rename to %I', renamed.key, renamed.value);
            execute format('alter statistics rebuild.%I set schema public', renamed.value);
        end loop;
        drop schema rebuild;
        for renamed in select key, value from jsonb_each_text(names) where key <> value loop
            execute format('alter index public.%I rename to %I', renamed.key, renamed.value);
        end loop;
        foreach statement in array statements loop
            execute statement;
        end loop;
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
