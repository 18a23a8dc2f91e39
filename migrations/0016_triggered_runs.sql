-- A run that was triggered here becomes readable at once. This is the one way in which the API changes the read model:
-- its role may not write to the tables, only call this, which runs with the rights of its owner. What the run is and
-- whose comes from the command that was written down before; only how it stands comes from the caller.
create function record_triggered_run(space uuid, command uuid, fingerprint bytea, seen jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint, log_offset,
        observed_at, status, provider_status, run_type, logical_date, data_interval_start, data_interval_end,
        run_after, queued_at, started_at, ended_at, duration_seconds, conf, note, triggered_by_id, triggered_by_name,
        external_url)
    -- Where in the log it will stand is not known yet: before the first record.
    select t.run_id, t.space_id, t.connector_id, t.pipeline_id, p.provider, t.run_external_id, e.version,
        record_triggered_run.fingerprint, -1, e.observed_at, e.status, e.provider_status, e.run_type, e.logical_date,
        e.data_interval_start, e.data_interval_end, e.run_after, e.queued_at, e.started_at, e.ended_at,
        e.duration_seconds, e.conf, e.note, u.id, u.name, e.external_url
    from triggers t
    join pipelines p on p.id = t.pipeline_id and p.space_id = t.space_id and p.connector_id = t.connector_id
    join users u on u.id = t.user_id
    cross join jsonb_to_record(seen) as e(
        version bigint, observed_at timestamptz, status text, provider_status text, run_type text,
        logical_date timestamptz, data_interval_start timestamptz, data_interval_end timestamptz,
        run_after timestamptz, queued_at timestamptz, started_at timestamptz, ended_at timestamptz,
        duration_seconds double precision, conf jsonb, note text, external_url text)
    where t.id = command and t.space_id = space and t.answer_status is null
      -- A version that was never drawn would outrank what the worker is still to see.
      and e.version <= (select last_value from observation_version)
    on conflict (id) do update set
        version = excluded.version, fingerprint = excluded.fingerprint, observed_at = excluded.observed_at,
        deleted_at = null, status = excluded.status, provider_status = excluded.provider_status,
        run_type = excluded.run_type, logical_date = excluded.logical_date,
        data_interval_start = excluded.data_interval_start, data_interval_end = excluded.data_interval_end,
        run_after = excluded.run_after, queued_at = excluded.queued_at, started_at = excluded.started_at,
        ended_at = excluded.ended_at, duration_seconds = excluded.duration_seconds, conf = excluded.conf,
        note = excluded.note, triggered_by_id = excluded.triggered_by_id,
        triggered_by_name = excluded.triggered_by_name, external_url = excluded.external_url
    where runs.version < excluded.version and runs.pipeline_id = excluded.pipeline_id
      and runs.external_id = excluded.external_id;
    -- What the worker has seen of it later stays; a run that no command asked for is an error.
    if not found and not exists (
        select from triggers t join runs r on r.id = t.run_id and r.pipeline_id = t.pipeline_id
            and r.external_id = t.run_external_id
        where t.id = command and t.space_id = space and t.answer_status is null
    ) then
        raise exception 'no command % of this space waits for its run', command;
    end if;
end $$;
revoke all on function record_triggered_run from public;
