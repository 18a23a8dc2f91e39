-- Whether a membership follows the groups of its user. What a person sets is not changed by groups.
alter table memberships add column from_groups boolean not null default false;
