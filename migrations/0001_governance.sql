-- Who may see and do what: spaces, people, keys, teams, connectors. Written by people, never by a projection.

create table spaces (
    id uuid primary key,
    slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text not null,
    created_at timestamptz not null default now()
);

create table users (
    id uuid primary key,
    email text not null,
    name text not null,
    created_at timestamptz not null default now()
);
create unique index users_email on users (lower(email));

create table memberships (
    space_id uuid not null references spaces,
    user_id uuid not null references users,
    role text not null check (role in ('viewer', 'editor', 'admin')),
    created_at timestamptz not null default now(),
    primary key (space_id, user_id)
);
create index memberships_user on memberships (user_id);

create table teams (
    id uuid primary key,
    space_id uuid not null references spaces,
    name text not null,
    created_at timestamptz not null default now(),
    unique (space_id, name)
);

-- A key speaks for its user. Only the SHA-256 of its secret is kept: 256 random bits need no slow hash.
create table api_keys (
    id uuid primary key,
    user_id uuid not null references users,
    label text not null,
    prefix text not null,
    secret_sha256 bytea not null unique,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create index api_keys_user on api_keys (user_id);

create table connectors (
    id uuid primary key,
    space_id uuid not null references spaces,
    name text not null,
    connector_type text not null,
    is_active boolean not null default true,
    config jsonb not null,
    -- What may be read back (the kind of authentication, the user name) beside what may not (sealed).
    credentials_public jsonb not null,
    credentials_sealed bytea,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index connectors_name on connectors (space_id, name) where deleted_at is null;
create index connectors_space on connectors (space_id, name, id) where deleted_at is null;

create table pipeline_governance (
    pipeline_id uuid primary key,
    space_id uuid not null references spaces,
    team_id uuid references teams,
    criticality text check (criticality in ('low', 'medium', 'high', 'critical')),
    updated_at timestamptz not null default now()
);
create index pipeline_governance_space on pipeline_governance (space_id);

create table pipeline_watches (
    pipeline_id uuid not null,
    user_id uuid not null references users,
    space_id uuid not null references spaces,
    created_at timestamptz not null default now(),
    primary key (pipeline_id, user_id)
);
create index pipeline_watches_user on pipeline_watches (user_id, space_id);

create table comments (
    id uuid primary key,
    space_id uuid not null references spaces,
    run_id uuid not null,
    -- Null for a comment on the run itself.
    task_run_id uuid,
    author_id uuid not null references users,
    content text not null,
    edited boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index comments_run on comments (run_id, created_at, id) where task_run_id is null;
create index comments_task_run on comments (task_run_id, created_at, id) where task_run_id is not null;
