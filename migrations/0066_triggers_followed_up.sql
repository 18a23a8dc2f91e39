-- When the end of the run was put into the inbox of the user who triggered it.
alter table triggers add column followed_up_at timestamptz;
