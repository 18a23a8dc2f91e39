-- The complete privileges of the worker's and the API's role, one line per table. `orchestration-api migrate` applies this
-- file after every migration, as the owner of the schema. The two settings hold the names of the roles; a role that does
-- not exist is skipped. A test fails for a table without a line, so a table without privileges needs a line too.
do $$
declare
    worker_role constant name :=
        (select rolname from pg_roles where rolname = current_setting('orchestration.worker_role', true));
    api_role constant name :=
        (select rolname from pg_roles where rolname = current_setting('orchestration.api_role', true));
    may record;
begin
    for may in
        select part.role, of.thing, part.rights
        from (values
            -- governance            the worker                 the API
            ('spaces',               'select (id, slug)',       'select'),
            ('users',                'select (id, name)',       'select'),
            ('memberships',          '',                        'select'),
            ('teams',                '',                        'select'),
            ('api_keys',             '',                        'select (id, user_id, secret_sha256, revoked_at)'),
            ('connectors',           'select',                  'select, insert, update'),
            ('pipeline_governance',  '',                        'select, insert, update'),
            ('pipeline_watches',     '',                        'select, insert, delete'),
            ('comments',             'select (run_id, task_run_id)', 'select, insert, update, delete'),
            ('audit',                'insert, select (id, at), delete', 'select, insert'),
            -- processing of syncs and triggers
            ('connector_state',      'select, update',          'select, insert, update'),
            ('syncs',                'select, insert, update, delete', 'select, insert, update'),
            ('pipeline_crawls',      'select, insert, update',  'select, delete'),
            ('triggers',             'select, delete',          'select, insert, update'),
            ('outbox',               'select, insert, delete',  'insert'),
            ('projection_offsets',   'select, insert, update',  'select'),
            ('dead_letters',         'select, insert, update, delete', ''),
            ('retention',            'select, insert, update',  ''),
            ('sequence observation_version', 'usage',           'usage'),
            -- the read model
            ('pipelines',            'select, insert, update',  'select'),
            ('runs',                 'select, insert, update, delete', 'select'),
            ('task_runs',            'select, insert, update, delete', 'select'),
            ('pipeline_metrics',     'select, insert, update',  'select'),
            ('run_counts',           'select, insert, update',  'select'),
            ('function record_triggered_run(uuid, uuid, bytea, jsonb)', '', 'execute'),
            ('_sqlx_migrations',     '',                        '')
        ) as of (thing, worker, api)
        cross join lateral (values (worker_role, of.worker), (api_role, of.api)) as part (role, rights)
        where part.role is not null
    loop
        execute format('revoke all on %s from %I', may.thing, may.role);
        if may.rights <> '' then
            execute format('grant %s on %s to %I', may.rights, may.thing, may.role);
        end if;
    end loop;
end $$;
