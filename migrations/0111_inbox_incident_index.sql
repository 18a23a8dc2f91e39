-- Who was notified of an incident is notified of its end.
create index inbox_incident on inbox (incident_id) where incident_id is not null;
