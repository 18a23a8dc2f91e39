-- What led to a sync, as W3C trace context: the worker goes on from there when it takes the sync up.
alter table syncs add column traceparent text;
