-- How a connector's provider is spared is a setting of its own; connectors that were made before get the defaults.
update connectors
set config = '{"max_requests_in_flight": 4, "max_requests_per_second": 50}'::jsonb || config
where connector_type = 'airflow';
