-- Of a dead letter's payload that is too large only the beginning is stored, with the size and the hash of the whole.
-- Both columns are null where the payload is stored whole.
alter table dead_letters add column payload_bytes bigint, add column payload_sha256 bytea;
