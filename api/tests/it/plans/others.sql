-- Everything else that is listed: 200,000 syncs, as many audit entries of 20 users, 15,000 comments on one run and others, and
-- 10 task runs of each of the newest runs. Another space has 25,000 pipelines and 30,000 manual syncs that failed.
create table space as select id as space_id from spaces where slug = 'finance';

insert into syncs (id, space_id, connector_id, status, trigger, requested_at, started_at, finished_at, report)
    select md5('sync' || n)::uuid, space_id, md5('connector' || n % 10)::uuid,
        case when n % 1000 = 7 then 'failed' else 'succeeded' end, case when n % 500 = 3 then 'manual' else 'schedule' end,
        at, at, at, case when n % 40 = 0 then '{"events_published": 3}' else '{}' end::jsonb
    from space, generate_series(199999, 0::bigint, -1) n, lateral (select now() - n * interval '30 s' as at) x;
insert into syncs (id, space_id, connector_id, status, trigger, requested_at, started_at, finished_at)
    select md5('other sync' || n)::uuid, s.id, c.id, 'failed', 'manual', at, at, at
    from spaces s join connectors c on c.space_id = s.id, generate_series(29999, 0::bigint, -1) n,
        lateral (select now() - n * interval '1 minute' as at) x where s.slug = 'other';
insert into audit (id, space_id, at, actor_id, via, action, target_type, target_id, details)
    select md5('audit' || n)::uuid, space_id, now() - n * interval '1 minute', md5('user' || n % 20)::uuid, 'api',
        case when n % 50000 = 1 then 'key.revoked' when n % 3 = 0 then 'pipeline.triggered' else 'team.changed' end, 'pipeline',
        md5('pipeline' || n % 3000)::uuid, '{}'
    from space, generate_series(199999, 0::bigint, -1) n;
insert into comments (id, space_id, run_id, author_id, content, created_at)
    select md5('comment' || n)::uuid, space_id, md5('run' || case when n < 15000 then 0 else n end)::uuid, md5('user0')::uuid,
        repeat('Seen. ', 100), now() - n * interval '1 s'
    from space, generate_series(59999, 0::bigint, -1) n;
insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id, version, fingerprint, log_offset,
        observed_at, task_id, map_index, name, status, try_number, max_tries)
    select md5('task' || n || r.id)::uuid, r.space_id, r.connector_id, r.pipeline_id, r.id, 'airflow', r.id || '/task_' || n, 1,
        '', n, r.observed_at, 'task_' || n, -1, 'task_' || n, r.status, 1, 1
    from runs r cross join generate_series(1, 10) n
    where r.version < 2000 or r.version < 60000 and r.pipeline_id = md5('pipeline0')::uuid
    order by r.version desc, n;

insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset, observed_at,
        first_seen_at, name, owners, tags, is_paused, is_active, provider_metadata, tasks)
    select md5('other pipeline' || n)::uuid, s.id, c.id, 'airflow', 'pipeline_' || n, 1, '', 0, now(), now(), 'pipeline_' || n,
        array['owner-' || n % 100], array['tag-' || n % 200], false, true, '{}', '[]'
    from spaces s join connectors c on c.space_id = s.id, generate_series(0, 24999) n where s.slug = 'other';
drop table space;
