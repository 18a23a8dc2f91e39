alter table teams add column description text;

create table team_members (
    team_id uuid not null references teams on delete cascade,
    user_id uuid not null references users,
    role text not null check (role in ('member', 'manager')),
    created_at timestamptz not null default now(),
    primary key (team_id, user_id)
);
create unique index team_members_manager on team_members (team_id) where role = 'manager';
create index team_members_user on team_members (user_id);
create index pipeline_governance_team on pipeline_governance (team_id) where team_id is not null;
