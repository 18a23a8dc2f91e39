-- The topic whose records were applied, by the id that Kafka gave to it when it was created, and the leader epoch of the last
-- record. The previous version moves only `last_offset`: unless `last_epoch_offset` is the one before the next, the epoch is
-- of an earlier record.
alter table projection_offsets
    add column topic_id uuid, add column last_epoch int, add column last_epoch_offset bigint;
