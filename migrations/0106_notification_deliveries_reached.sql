-- The recipients of an e-mail whom its server has accepted. A further attempt is for the others.
alter table notification_deliveries add column reached text[] not null default '{}';
