-- no-transaction
create index concurrently if not exists comments_incident on comments (incident_id, created_at, id)
    where incident_id is not null;
