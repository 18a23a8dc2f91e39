-- Who a user is at an OpenID Connect provider. A subject never changes, unlike addresses and names.
create table user_identities (
    issuer text not null,
    subject text not null,
    user_id uuid not null references users,
    -- The groups of the last sign-in.
    groups text[] not null default '{}',
    created_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index user_identities_user on user_identities (user_id);
create index user_identities_groups on user_identities using gin (groups);
