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
            ('users',                'select (id, name)',       'select, insert, update (name)'),
            ('user_identities',      '',                        'select, insert, update (groups)'),
            ('group_mappings',       '',                        'select, insert, update (role), delete'),
            ('memberships',          '',                        'select, insert, update, delete'),
            ('teams',                '',                        'select, insert, update, delete'),
            ('team_members',         '',                        'select, insert, update, delete'),
            ('api_keys',             '',                        'select, insert, update (revoked_at)'),
            ('api_key_uses',         '',                        'select, insert, update'),
            ('sessions',             '',                        'select, insert, update (last_used_at), delete'),
            ('connectors',           'select',                  'select, insert, update'),
            ('pipeline_governance',  'select (pipeline_id, team_id, criticality)', 'select, insert, update'),
            ('pipeline_watches',     'select (pipeline_id, user_id, space_id)', 'select, insert, delete'),
            ('comments',             'select (run_id, task_run_id)', 'select, insert, update, delete'),
            ('rate_limits',          '',                        'select, insert, update'),
            ('audit',                'insert, select (id, at), delete', 'select, insert'),
            -- notifications
            ('notification_channels', 'select, update (is_active, disabled_reason, lease_until, paused_until, failures)',
                                                                'select, insert, update, delete'),
            ('notification_rules',   'select',                  'select, insert, update, delete'),
            ('notification_threads', 'select, insert, update',  ''),
            ('notification_deliveries', 'select, insert, update, delete', 'select, insert, update'),
            ('delivery_attempts',    'select, insert',          'select'),
            ('inbox',                'select, insert, delete',  'select, update (read_at)'),
            -- processing of syncs and triggers
            ('connector_state',      'select, update',          'select, insert, update'),
            ('syncs',                'select, insert, update, delete', 'select, insert, update'),
            ('sync_queue',           'select',                  'select'),
            ('pipeline_crawls',      'select, insert, update',  'select, delete'),
            ('incomplete_runs',      'select, insert, delete',  ''),
            ('triggers',             'select, delete, update (followed_up_at)', 'select, insert, update'),
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
            ('space_run_counts',     'select, insert, update',  'select'),
            ('run_changes',          'select, insert, delete',  'select'),
            ('run_days',             'select, insert, update, delete', 'select'),
            ('run_windows',          'select, insert, update',  'select'),
            ('run_window_day',       'select, update',          'select'),
            -- expectations and signals
            ('run_samples',          'select, insert, update, delete', 'select'),
            ('expectations',         'select, insert, update, delete', 'select'),
            ('expectation_classes',  'select, insert, delete',  'select'),
            ('signals',              'select, insert, delete',  ''),
            ('pipeline_resumptions', 'select, insert, update',  ''),
            ('incidents',            'select, insert, update, delete',
                'select, update (status, acknowledged_at, acknowledged_by, muted_until, version, updated_at)'),
            ('incident_changes',     'select, insert, delete',  'insert'),
            ('function record_triggered_run(uuid, uuid, bytea, jsonb)', '', 'execute'),
            ('_sqlx_migrations',     '',                        'select (version, success)')
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
