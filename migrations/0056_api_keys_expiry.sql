alter table api_keys
    add column read_only boolean not null default false,
    add column expires_at timestamptz;

-- When a key was used last, to the hour. It is apart from the keys, whose changes clear the caches of access.
create table api_key_uses (
    key_id uuid primary key references api_keys,
    used_at timestamptz not null
);
