-- The text in which words are searched for, in lower case. Line breaks keep a word from matching across two fields.
-- `migrate` creates its index of trigrams, which needs an extension.

create function pipeline_search_text(name text, external_id text, description text, owners text[], tags text[])
returns text language sql immutable parallel safe as $$
    select lower(concat_ws(E'\n', name, external_id, description, array_to_string(owners, E'\n'),
        array_to_string(tags, E'\n')) collate "und-x-icu")
$$;

-- allowed: no release has rows here yet
alter table pipelines add column search_text text collate "und-x-icu"
    generated always as (pipeline_search_text(name, external_id, description, owners, tags)) stored;
