-- The ends of the last records that a sync published of a connector before it ended without seeing them in the read model, as
-- an array of {"topic", "partition", "next_offset"}, and when that was. Until the read model has reached them, a further poll
-- would publish the same changes again.
alter table connector_state add column published_offsets jsonb, add column published_at timestamptz;
