-- no-transaction
create index concurrently if not exists triggers_not_followed_up on triggers (created_at) where followed_up_at is null;
