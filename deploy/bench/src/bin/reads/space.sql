-- One space with {pipelines} pipelines of 10 connectors and 30 teams, an admin with two keys, and {runs} runs of a year. Busy
-- pipelines have up to a hundred times the runs of others.
insert into spaces (id, slug, name) values (md5('space')::uuid, 'space-0', 'Space');
insert into users (id, email, name) select md5('user' || n)::uuid, 'user' || n, 'User ' || n from generate_series(0, 19) n;
insert into api_keys (id, user_id, label, prefix, secret_sha256)
    select md5(key)::uuid, md5('user0')::uuid, '', '', sha256(key::bytea) from unnest(array[{keys}]) key;
insert into memberships (space_id, user_id, role) values (md5('space')::uuid, md5('user0')::uuid, 'admin');
insert into connectors (id, space_id, name, connector_type, config, credentials_public)
    select md5('connector' || n)::uuid, md5('space')::uuid, 'airflow ' || n, 'airflow', '{}', '{}' from generate_series(0, 9) n;
insert into connector_state (connector_id, confirmed_at) select md5('connector' || n)::uuid, now() from generate_series(0, 9) n;
insert into teams (id, space_id, name)
    select md5('team' || n)::uuid, md5('space')::uuid, 'team ' || n from generate_series(0, 29) n;
insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset, observed_at,
        first_seen_at, name, description, owner, owners, tags, schedule, is_paused, is_active, provider_metadata, tasks)
    select md5('pipeline' || n)::uuid, md5('space')::uuid, md5('connector' || n % 10)::uuid, 'airflow', 'pipeline_' || n, 1, '', 0,
        now(), now(), 'pipeline_' || n, 'Loads what was sold', 'owner-' || n % 100, array['owner-' || n % 100],
        array['tag-' || n % 200], '@hourly', n % 20 = 0, n % 20 <> 7, '{}', '[]'
    from generate_series(0, {pipelines} - 1) n;
insert into pipeline_governance (pipeline_id, space_id, team_id, criticality)
    select md5('pipeline' || n)::uuid, md5('space')::uuid, md5('team' || n % 30)::uuid,
        (array['low', 'medium', 'high', 'critical'])[1 + n % 4]
    from generate_series(0, {pipelines} - 1) n where n % 3 <> 0;
insert into pipeline_watches (pipeline_id, user_id, space_id)
    select md5('pipeline' || n * 7)::uuid, md5('user0')::uuid, md5('space')::uuid from generate_series(0, 40) n;
insert into syncs (id, space_id, connector_id, status, trigger, requested_at, started_at, finished_at, report)
    select md5('sync' || n)::uuid, md5('space')::uuid, md5('connector' || n % 10)::uuid, 'succeeded', 'schedule', at, at, at, '{}'
    from generate_series(199999, 0::bigint, -1) n, lateral (select now() - n * interval '30 s' as at) x;
insert into comments (id, space_id, run_id, author_id, content, created_at)
    select md5('comment' || n)::uuid, md5('space')::uuid, md5('run' || case when n < 30000 then 0 else n end)::uuid,
        md5('user0')::uuid, 'Seen', now() - n * interval '1 s'
    from generate_series(59999, 0::bigint, -1) n;
