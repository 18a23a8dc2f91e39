-- Where incidents are reported: channels, the rules that choose among them, what was sent to each, and the inbox of users.

create table notification_channels (
    id uuid primary key,
    space_id uuid not null references spaces,
    channel_type text not null check (channel_type in ('webhook', 'slack', 'teams', 'pagerduty', 'email')),
    name text not null,
    is_active boolean not null default true,
    -- What may be read back beside what may not (sealed).
    config jsonb not null,
    secrets_sealed bytea,
    -- Why the service itself has switched the channel off.
    disabled_reason text,
    -- One worker at a time delivers to a channel, until its lease ends.
    lease_until timestamptz,
    -- Nothing is sent before then: the receiver asked for a pause, or has failed so many times in a row.
    paused_until timestamptz,
    failures integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (space_id, name)
);

-- A condition that is null or empty holds for every incident.
create table notification_rules (
    id uuid primary key,
    space_id uuid not null references spaces,
    channel_id uuid not null references notification_channels on delete cascade,
    is_active boolean not null default true,
    kinds text[] not null default '{}',
    min_criticality text check (min_criticality in ('low', 'medium', 'high', 'critical')),
    -- A rule for a team that is deleted would hold for all pipelines, and so it goes with the team.
    team_id uuid references teams on delete cascade,
    tag text,
    -- No foreign key: pipelines belong to the read model, which is rebuilt.
    pipeline_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index notification_rules_space on notification_rules (space_id, created_at, id);
create index notification_rules_channel on notification_rules (channel_id);
create index notification_rules_team on notification_rules (team_id) where team_id is not null;

-- The outbox: one row per message and channel. The id is sent with every attempt.
create table notification_deliveries (
    id uuid primary key,
    space_id uuid not null references spaces,
    channel_id uuid not null references notification_channels on delete cascade,
    -- What the message says; each type of channel has its own form of it.
    message jsonb not null,
    status text not null default 'pending' check (status in ('pending', 'delivered', 'failed', 'cancelled')),
    attempts integer not null default 0,
    -- Of the present schedule of attempts, which a redelivery begins anew.
    retries integer not null default 0,
    next_attempt_at timestamptz default now(),
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    check ((status = 'pending') = (next_attempt_at is not null))
);
create index notification_deliveries_due on notification_deliveries (channel_id, next_attempt_at)
    where next_attempt_at is not null;
create index notification_deliveries_channel on notification_deliveries (channel_id, created_at, id);
create index notification_deliveries_created on notification_deliveries (created_at, id);

create table delivery_attempts (
    delivery_id uuid not null references notification_deliveries on delete cascade,
    number integer not null,
    at timestamptz not null default now(),
    -- The status of the response; null without one.
    code integer,
    error text,
    duration_ms integer not null,
    primary key (delivery_id, number)
);

create table inbox (
    -- Derived from its cause and the user, so that a second insert of the same entry is none.
    id uuid primary key,
    user_id uuid not null references users,
    space_id uuid not null references spaces,
    kind text not null,
    change text not null check (change in ('opened', 'reopened', 'resolved', 'finished')),
    incident_id uuid,
    pipeline_id uuid,
    run_id uuid,
    summary text not null,
    created_at timestamptz not null default now(),
    read_at timestamptz
);
create index inbox_user on inbox (user_id, created_at, id);
create index inbox_unread on inbox (user_id, created_at, id) where read_at is null;
create index inbox_created on inbox (created_at, id);
