-- A million runs of 3,000 pipelines over 90 days in one space. Busy pipelines have up to a hundred times the runs of
-- others; the last 150 pipelines have not run for weeks, and are not active any more. No run has failed for five days.
create table space as
    select s.id as space_id, c.id as connector_id from spaces s join connectors c on c.space_id = s.id where s.slug = 'finance';

insert into connectors (id, space_id, name, connector_type, config, credentials_public)
    select md5('connector' || n)::uuid, space_id, 'airflow ' || n, 'airflow', '{}', '{}' from space, generate_series(0, 9) n;
insert into connector_state (connector_id) select md5('connector' || n)::uuid from generate_series(0, 9) n;
insert into teams (id, space_id, name) select md5('team' || n)::uuid, space_id, 'team ' || n from space, generate_series(0, 29) n;
insert into users (id, email, name) select md5('user' || n)::uuid, 'user' || n, 'user ' || n from generate_series(0, 19) n;

insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset, observed_at,
        first_seen_at, name, owners, tags, is_paused, is_active, provider_metadata, tasks)
    select md5('pipeline' || n)::uuid, space_id, md5('connector' || n % 10)::uuid, 'airflow', 'pipeline_' || n, 1, '', 0, now(),
        now(), 'pipeline_' || n, array['owner-' || n % 100], array['tag-' || n % 200], n % 20 = 0, n < 2850, '{}', '[]'
    from space, generate_series(0, 2999) n;
insert into pipeline_governance (pipeline_id, space_id, team_id, criticality)
    select md5('pipeline' || n)::uuid, space_id, md5('team' || n % 30)::uuid,
        (array['low', 'medium', 'high', 'critical'])[1 + n % 4]
    from space, generate_series(0, 2999) n where n % 3 <> 0;
insert into pipeline_watches (pipeline_id, user_id, space_id)
    select md5('pipeline' || n * 7)::uuid, u.id, space_id from space, users u, generate_series(0, 40) n where u.name = 'Victor';

-- Indexes are faster to build than to fill; counts are made at the end.
create table dropped as
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
    from pg_index where indrelid = 'runs'::regclass and not indisprimary;
do $$ declare each record; begin
    for each in select * from dropped loop execute 'drop index ' || each.name; end loop;
end $$;
alter table runs disable trigger user, set (autovacuum_enabled = off);

insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint, log_offset,
        observed_at, deleted_at, status, provider_status, run_type, logical_date, run_after, queued_at, started_at, ended_at,
        duration_seconds, conf, triggered_by_id, triggered_by_name)
    select md5('run' || n)::uuid, space_id, md5('connector' || pipeline % 10)::uuid, md5('pipeline' || pipeline)::uuid, 'airflow',
        run_type || '__' || to_char(at at time zone 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS' || case when run_type = 'scheduled' then '' else '.US' end || '+00:00'), n, decode(md5(n::text), 'hex'), n, at,
        case when n % 50 = 49 then at end, status, status, run_type, due, due, at, case when status <> 'queued' then at end,
        case when status in ('success', 'failed', 'unknown') then at + duration * interval '1 s' end,
        case when status in ('success', 'failed', 'unknown') then duration end, '{}',
        case when run_type = 'manual' and n % 3 = 0 then md5('user' || n % 20)::uuid end, 'user'
    from space, generate_series(999999, 0::bigint, -1) n,
        lateral (select (hashint8(n * 7919 + 1)::bigint + 2147483648) / 4294967296.0 as part,
            (hashint8(n * 31 + 7)::bigint + 2147483649) / 4294967297.0 as share,
            now() - interval '90 days' * n / 1000000 as at) random,
        lateral (select case when n > 800000 and n % 5 = 0 then 2850 + n % 150 else floor(2850 * part * part)::int end as pipeline,
            -ln(share) * 600 as duration,
            case when n < 200 then 'queued' when n < 900 and n % 3 > 0 then 'running' when n > 60000 and n % 20 = 3 then 'failed'
                when n % 100 = 50 then 'unknown' else 'success' end as status,
            case when n / 7 % 33 = 0 then 'manual' when n / 7 % 50 = 1 then 'backfill'
                when n / 7 % 20 = 2 then 'asset_triggered' else 'scheduled' end as run_type) kind,
        lateral (select case when run_type = 'backfill' then at - interval '60 days' else at end as due) due;

do $$ declare each record; begin
    for each in select * from dropped loop execute each.definition; end loop;
end $$;
alter table runs enable trigger user;
select count_all_runs();
drop table space, dropped;
