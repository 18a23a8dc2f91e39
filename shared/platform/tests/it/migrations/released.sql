-- The main statements of the version in `migrations/RELEASED`, with random values in place of their parameters. Each is
-- prepared once and executed repeatedly while migrations are applied.

-- user of an API key
select k.user_id, s.id, m.role from api_keys k
join memberships m on m.user_id = k.user_id join spaces s on s.id = m.space_id
where k.secret_sha256 = '\x00' and k.revoked_at is null and s.slug = 'space';

-- page of runs
select r.id, r.pipeline_id, coalesce(p.name, '') as pipeline_name, r.external_id, r.status,
    r.provider_status, r.run_type, r.logical_date, r.data_interval_start, r.data_interval_end, r.run_after,
    r.queued_at, r.started_at, r.ended_at, r.duration_seconds, r.conf, r.note, r.triggered_by_id,
    r.triggered_by_name, r.external_url, r.deleted_at, r.observed_at as updated_at,
    case when r.deleted_at is null then greatest(r.observed_at, s.confirmed_at) else r.observed_at end
        as last_synced_at,
    (select count(*) from comments where comments.run_id = r.id and comments.task_run_id is null)
        as comment_count,
    (select coalesce(jsonb_object_agg(counted.status, counted.n), '{}') from (
        select tr.status, count(*) as n from task_runs tr where tr.run_id = r.id and tr.deleted_at is null
        group by tr.status) counted) as task_counts,
    (select coalesce(sum(r.n), 0)::bigint from run_counts r where r.space_id = md5('space')::uuid and not r.is_deleted) as total
from (select r.id from runs r where r.space_id = md5('space')::uuid and r.deleted_at is null
      order by r.ordered_at desc, r.id desc limit 50 offset 100) page
join runs r on r.id = page.id
left join pipelines p on p.id = r.pipeline_id
left join connector_state s on s.connector_id = r.connector_id
order by r.ordered_at desc, r.id desc;

-- task runs of a run
select t.id, t.run_id, t.task_id, t.map_index, t.name, t.operator, t.status, t.provider_status,
    t.try_number, t.max_tries, t.queued_at, t.started_at, t.ended_at, t.duration_seconds, t.pool, t.queue,
    t.hostname, coalesce(commented.n, 0) as comment_count, t.deleted_at
from task_runs t left join (
    select task_run_id, count(*) as n from comments where task_run_id is not null
        and run_id = (select md5('run' || floor(random() * 10000)::int)::uuid) group by task_run_id) commented
    on commented.task_run_id = t.id
where t.run_id = (select md5('run' || floor(random() * 10000)::int)::uuid) and t.space_id = md5('space')::uuid
    and t.deleted_at is null
order by t.task_id, t.map_index, t.id;

-- page of pipelines with their metrics
select p.id, p.connector_id, c.name as connector_name, p.provider, p.external_id, p.name,
    p.description, p.owner, p.owners, p.tags, p.schedule, p.is_paused,
    p.is_active and c.deleted_at is null as is_active, coalesce(run.status, 'never_run') as status,
    g.criticality, t.id as team_id, t.name as team_name, w.user_id is not null as watched, p.external_url,
    p.next_run_at, run.id as run_id, run.external_id as run_external_id, run.provider_status as run_provider_status,
    run.run_type, run.started_at, run.ended_at, run.duration_seconds,
    m.run_count, m.success_count, m.failed_count, m.running_count, m.queued_count, m.avg_duration_seconds,
    m.percentiles, m.last_success_at, m.last_failure_at,
    p.first_seen_at, p.observed_at as updated_at,
    case when p.is_active then greatest(p.observed_at, s.confirmed_at) else p.observed_at end as synced_at
from pipelines p
join connectors c on c.id = p.connector_id
left join connector_state s on s.connector_id = p.connector_id
left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id
left join teams t on t.id = g.team_id
left join lateral (
    select r.id, r.external_id, r.status, r.provider_status, r.run_type, r.started_at, r.ended_at, r.duration_seconds
    from runs r where r.pipeline_id = p.id and r.deleted_at is null
    order by r.ordered_at desc, r.id desc limit 1) run on true
left join pipeline_watches w on w.pipeline_id = p.id and w.user_id = md5('user')::uuid
left join pipeline_metrics kept on kept.pipeline_id = p.id
    and kept.counted_revision = kept.revision and kept.valid_until >= now()
cross join lateral (
    select kept.run_count, kept.success_count, kept.failed_count, kept.running_count, kept.queued_count,
        kept.avg_duration_seconds, kept.percentiles, kept.last_success_at, kept.last_failure_at
    where kept.pipeline_id is not null
    union all
    select counted.run_count, counted.success_count, counted.failed_count, counted.running_count,
        counted.queued_count, counted.avg_duration_seconds, counted.percentiles, counted.last_success_at,
        counted.last_failure_at
    from run_metrics(p.id, now() - 30 * interval '24 hours', false) counted where kept.pipeline_id is null) m
where p.space_id = md5('space')::uuid;

-- comments on a run
select c.id, c.run_id, c.task_run_id, c.content, c.author_id, u.name as author_name, c.edited, c.created_at, c.updated_at
from comments c join users u on u.id = c.author_id
where c.space_id = md5('space')::uuid and c.task_run_id is null
    and c.run_id = (select md5('run' || floor(random() * 10000)::int)::uuid)
order by c.created_at, c.id limit 100;

-- new comment
insert into comments (id, space_id, run_id, task_run_id, author_id, content)
values (gen_random_uuid(), md5('space')::uuid, md5('run' || floor(random() * 10000)::int)::uuid, null,
    md5('user')::uuid, 'Why?');

-- syncs of a connector
select s.id, s.connector_id, s.status, s.trigger, s."full", s.requested_at, s.started_at, s.finished_at, s.error, s.report
from syncs s where s.connector_id = md5('connector')::uuid
order by s.requested_at desc, s.id desc limit 50;

-- scheduler tick
insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at, tick_at)
values (gen_random_uuid(), md5('space')::uuid, md5('connector')::uuid, 'queued', 'schedule', now(), now(), clock_timestamp())
on conflict do nothing;

-- sync claimed
update syncs set status = 'running', started_at = now(), attempts = attempts + 1, version = nextval('observation_version')
where id = (select id from syncs where status = 'queued' and accepted_at is not null
    order by requested_at limit 1 for update skip locked);

-- sync finished
update syncs set status = 'succeeded', finished_at = clock_timestamp(), report = '{"runs_seen": 1}',
    version = nextval('observation_version')
where id = (select id from syncs where status = 'running' order by requested_at limit 1 for update skip locked);

-- lease claimed
update connector_state set lease_owner = 'w', lease_epoch = lease_epoch + 1,
    lease_until = clock_timestamp() + interval '15 s', cursor_at = now(), confirmed_at = now(),
    last_success_at = clock_timestamp(), credentials_refused_at = null, failures = 0, retry_at = null
where connector_id = (select connector_id from connector_state for update skip locked);

-- history recorded
insert into pipeline_crawls (connector_id, external_id, crawled_at, history_days)
values (md5('connector')::uuid, 'p' || floor(random() * 20)::int, now(), 30)
on conflict (connector_id, external_id) do update
    set crawled_at = excluded.crawled_at, history_days = excluded.history_days;

-- stored runs by id
select id, version, fingerprint, log_offset from runs
where id = any((select array_agg(md5('run' || floor(random() * 10000)::int)::uuid) from generate_series(1, 200))::uuid[]);

-- runs projected
insert into runs (
    id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
    observed_at, deleted_at, pipeline_id, status, provider_status, run_type, logical_date,
    data_interval_start, data_interval_end, run_after, queued_at, started_at, ended_at,
    duration_seconds, conf, note, triggered_by_id, triggered_by_name, external_url)
select
    e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
    decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
    case when e.deleted then e.observed_at end, e.pipeline_id, e.status, e.provider_status,
    e.run_type, e.logical_date, e.data_interval_start, e.data_interval_end, e.run_after,
    e.queued_at, e.started_at, e.ended_at, e.duration_seconds, e.conf, e.note,
    (e.triggered_by->>'id')::uuid, e.triggered_by->>'name', e.external_url
from json_to_recordset((
    select json_agg(json_build_object(
        'id', md5('run' || n), 'connector_id', md5('connector'), 'provider', 'airflow', 'external_id', 'r' || n,
        'version', nextval('observation_version'), 'fingerprint', 'ab', 'log_offset', 1, 'observed_at', now(),
        'deleted', false, 'pipeline_id', md5('pipeline' || n % 20), 'status', 'success', 'provider_status', 'success',
        'run_type', 'scheduled', 'run_after', now(), 'started_at', now(), 'ended_at', now(), 'duration_seconds', 1.5,
        'conf', json_build_object()))
    from (select distinct floor(random() * 10100)::int as n from generate_series(1, 100)) some_runs)) as e(
    id uuid, connector_id uuid, provider text, external_id text, version bigint,
    fingerprint text, log_offset bigint, observed_at timestamptz, deleted boolean,
    pipeline_id uuid, status text, provider_status text, run_type text,
    logical_date timestamptz, data_interval_start timestamptz, data_interval_end timestamptz,
    run_after timestamptz, queued_at timestamptz, started_at timestamptz, ended_at timestamptz,
    duration_seconds double precision, conf jsonb, note text, triggered_by jsonb,
    external_url text)
join connectors c on c.id = e.connector_id
order by e.id
on conflict (id) do update set (
    version, fingerprint, log_offset, observed_at, deleted_at, status, provider_status,
    run_type, logical_date, data_interval_start, data_interval_end, run_after, queued_at,
    started_at, ended_at, duration_seconds, conf, note, triggered_by_id, triggered_by_name,
    external_url) = (
    excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
    excluded.deleted_at, excluded.status, excluded.provider_status, excluded.run_type,
    excluded.logical_date, excluded.data_interval_start, excluded.data_interval_end,
    excluded.run_after, excluded.queued_at, excluded.started_at, excluded.ended_at,
    excluded.duration_seconds, excluded.conf, excluded.note, excluded.triggered_by_id,
    excluded.triggered_by_name, excluded.external_url)
where runs.version < excluded.version;

-- task runs projected
insert into task_runs (
    id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
    observed_at, deleted_at, pipeline_id, run_id, task_id, map_index, name, operator, status,
    provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds,
    pool, queue, hostname)
select
    e.id, c.space_id, e.connector_id, e.provider, e.external_id, e.version,
    decode(e.fingerprint, 'hex'), e.log_offset, e.observed_at,
    case when e.deleted then e.observed_at end, e.pipeline_id, e.run_id, e.task_id, e.map_index,
    e.name, e.operator, e.status, e.provider_status, e.try_number, e.max_tries, e.queued_at,
    e.started_at, e.ended_at, e.duration_seconds, e.pool, e.queue, e.hostname
from json_to_recordset((
    select json_agg(json_build_object(
        'id', md5('task1/' || n), 'connector_id', md5('connector'), 'provider', 'airflow', 'external_id', 't' || n,
        'version', nextval('observation_version'), 'fingerprint', 'ab', 'log_offset', 1, 'observed_at', now(),
        'deleted', false, 'pipeline_id', md5('pipeline' || n % 20), 'run_id', md5('run' || n), 'task_id', 'task_1',
        'map_index', -1, 'name', 'task_1', 'operator', 'PythonOperator', 'status', 'success', 'provider_status', 'success',
        'try_number', 1, 'max_tries', 2, 'started_at', now(), 'ended_at', now(), 'duration_seconds', 1.5))
    from (select distinct floor(random() * 10100)::int as n from generate_series(1, 100)) some_runs)) as e(
    id uuid, connector_id uuid, provider text, external_id text, version bigint,
    fingerprint text, log_offset bigint, observed_at timestamptz, deleted boolean,
    pipeline_id uuid, run_id uuid, task_id text, map_index int, name text, operator text,
    status text, provider_status text, try_number int, max_tries int, queued_at timestamptz,
    started_at timestamptz, ended_at timestamptz, duration_seconds double precision, pool text,
    queue text, hostname text)
join connectors c on c.id = e.connector_id
order by e.id
on conflict (id) do update set (
    version, fingerprint, log_offset, observed_at, deleted_at, name, operator, status,
    provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds,
    pool, queue, hostname) = (
    excluded.version, excluded.fingerprint, excluded.log_offset, excluded.observed_at,
    excluded.deleted_at, excluded.name, excluded.operator, excluded.status,
    excluded.provider_status, excluded.try_number, excluded.max_tries, excluded.queued_at,
    excluded.started_at, excluded.ended_at, excluded.duration_seconds, excluded.pool,
    excluded.queue, excluded.hostname)
where task_runs.version < excluded.version;

-- runs as events
select to_jsonb(r) || jsonb_build_object(
    'space', s.slug, 'deleted', r.deleted_at is not null,
    'pipeline_external_id', coalesce(p.external_id, ''),
    'triggered_by', case when r.triggered_by_id is not null
        then jsonb_build_object('id', r.triggered_by_id, 'name', r.triggered_by_name) end)
from runs r join spaces s on s.id = r.space_id left join pipelines p on p.id = r.pipeline_id
where r.id = any((select array_agg(md5('run' || floor(random() * 10000)::int)::uuid) from generate_series(1, 20))::uuid[]);

-- partition offset advanced
update projection_offsets set next_offset = next_offset + 1 where topic = 'runs' and partition = 0;

-- outbox record inserted
insert into outbox (topic, key, headers, payload) values ('"Runs"', 'k', '[]', 'p');

-- outbox records sent
delete from outbox where id in (select id from outbox order by id limit 100 for update skip locked);

-- dead letter stored
insert into dead_letters (id, topic, partition, "offset", key, headers, payload, error)
values (gen_random_uuid(), 't', 0, floor(random() * 1000000)::int, 'k', '{}', 'p', 'e')
on conflict (topic, partition, "offset") do nothing;

-- run triggered
insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
    idempotency_key, command_sha256, attempt_until)
values (gen_random_uuid(), md5('space')::uuid, md5('connector')::uuid, md5('pipeline1')::uuid, md5('user')::uuid,
    'r', gen_random_uuid(), gen_random_uuid()::text, '', now() + interval '100 s')
on conflict (pipeline_id, user_id, idempotency_key) where idempotency_key is not null do nothing;

-- pipeline criticality changed
insert into pipeline_governance (pipeline_id, space_id, criticality)
values (md5('pipeline' || floor(random() * 20)::int)::uuid, md5('space')::uuid, 'high')
on conflict (pipeline_id) do update set criticality = excluded.criticality, updated_at = now();
