-- The role that the members of a group of the OpenID Connect provider have in a space.
create table group_mappings (
    id uuid primary key,
    space_id uuid not null references spaces,
    group_name text not null,
    role text not null check (role in ('viewer', 'editor', 'admin')),
    created_at timestamptz not null default now(),
    unique (space_id, group_name)
);
create index group_mappings_group on group_mappings (group_name);
