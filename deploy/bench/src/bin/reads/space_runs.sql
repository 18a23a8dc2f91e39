insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint, log_offset,
        observed_at, deleted_at, status, provider_status, run_type, logical_date, run_after, queued_at, started_at, ended_at,
        duration_seconds, conf, conf_bytes, triggered_by_id, triggered_by_name)
    select md5('run' || n)::uuid, md5('space')::uuid, md5('connector' || pipeline % 10)::uuid,
        md5('pipeline' || pipeline)::uuid, 'airflow',
        run_type || '__' || to_char(at at time zone 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS' || case when run_type = 'scheduled' then '' else '.US' end || '+00:00'), n, decode(md5(n::text), 'hex'), n, at,
        case when n % 50 = 49 then at end, status, status, run_type, due, due, at, case when status <> 'queued' then at end,
        case when status in ('success', 'failed', 'unknown') then at + duration * interval '1 s' end,
        case when status in ('success', 'failed', 'unknown') then duration end, '{}', 2,
        case when run_type = 'manual' and n % 3 = 0 then md5('user' || n % 20)::uuid end, 'User'
    from generate_series({to}, {from}::bigint, -1) n,
        lateral (select (hashint8(n * 7919 + 1)::bigint + 2147483648) / 4294967296.0::float8 as part,
            (hashint8(n * 31 + 7)::bigint + 2147483649) / 4294967297.0::float8 as share,
            now() - interval '365 days' * (n / {runs}::float8) as at) random,
        lateral (select floor({pipelines} * part * part)::int as pipeline, -ln(share) * 600 as duration,
            case when n < 200 then 'queued' when n < 900 and n % 3 > 0 then 'running' when n % 20 = 3 then 'failed'
                when n % 100 = 50 then 'unknown' else 'success' end as status,
            case when n / 7 % 33 = 0 then 'manual' when n / 7 % 50 = 1 then 'backfill'
                when n / 7 % 20 = 2 then 'asset_triggered' else 'scheduled' end as run_type) kind,
        lateral (select case when run_type = 'backfill' then at - interval '60 days' else at end as due) due;
