-- What an admin's lists need, in databases of earlier benchmarks, too.
update memberships set role = 'admin' where role <> 'admin';
insert into audit (id, space_id, at, actor_id, via, action, target_type, target_id, details)
    select md5('audit' || n)::uuid, md5('space')::uuid, now() - n * interval '1 minute', md5('user' || n % 20)::uuid, 'api',
        case when n % 50000 = 1 then 'key.revoked' when n % 3 = 0 then 'pipeline.triggered' else 'team.changed' end, 'pipeline',
        md5('pipeline' || n % 3000)::uuid, '{}'
    from generate_series(199999, 0::bigint, -1) n where not exists (select from audit);
analyze audit;
