-- How often in a row the history of a pipeline, its presence or its task graph could not be read, and when that was last
-- tried: each further attempt waits longer.
alter table pipeline_crawls
    add column failures int not null default 0,
    add column tried_at timestamptz,
    add column graph_failures int not null default 0,
    add column graph_tried_at timestamptz;
