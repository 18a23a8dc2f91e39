-- The sign-ins of browsers. A cookie holds 256 random bits, and only their SHA-256 is stored. A session without a key began
-- at an OpenID Connect provider.
create table sessions (
    id uuid primary key,
    secret_sha256 bytea not null unique,
    user_id uuid not null references users,
    key_id uuid references api_keys,
    user_agent text,
    created_at timestamptz not null default now(),
    -- To the minute, so that not every request writes.
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_user on sessions (user_id, created_at desc, id desc);
create index sessions_expired on sessions (expires_at);
create index sessions_key on sessions (key_id) where key_id is not null;

-- A session that ends is deleted. Its use must not clear the caches of access, and so only a deletion notifies.
create trigger sessions_deleted after delete on sessions
    for each statement execute function tell_access_changed();
