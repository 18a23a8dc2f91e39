-- When the latest wish that a sync serves was asked, by this clock: a later wish may join one that waits, and a wish from
-- Kafka brings a clock of its own. Where it is null, nothing but `requested_at` was asked.
alter table syncs add column asked_at timestamptz;
