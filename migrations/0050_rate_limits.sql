-- How many requests of each key the API's replicas have drawn from the budget of the current window. Without these rows, for
-- instance after PostgreSQL has crashed, the window begins anew.
create unlogged table rate_limits (
    -- Of a key, or of a user who signed in without one: two rows each.
    key_id uuid not null,
    window_seconds integer not null,
    window_start bigint not null,
    drawn bigint not null,
    granted bigint not null,
    primary key (key_id, window_seconds)
) with (fillfactor = 50);
