-- The last record that was applied: its offset, and its timestamp in milliseconds, as Kafka has it. Where the topic has another
-- record at that offset, it is another log, whose records were not read. The previous version moves only `next_offset`:
-- unless `last_offset` is the one before it, nothing is known of the last record.
alter table projection_offsets add column last_offset bigint, add column last_timestamp bigint;
