-- PostgreSQL uses no statistics of partial indexes. Without these, it expects so many runs with any text in their ids that
-- it reads a whole table rather than the index. `migrate` collects them.

create statistics runs_run_id_text on (lower(external_id collate "und-x-icu")) from runs;
create statistics runs_run_id_times
    on (array[substr(external_id, 12, 10), substr(external_id, 22, 6)] collate "C") from runs;
