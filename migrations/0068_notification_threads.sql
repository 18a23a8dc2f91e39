-- What a channel was notified of an incident, and what it is to be notified of next.
create table notification_threads (
    channel_id uuid not null references notification_channels on delete cascade,
    incident_id uuid not null references incidents on delete cascade,
    -- The change that is to be sent, and when; null when nothing is.
    next_change text check (next_change in ('opened', 'reopened', 'updated', 'repeated', 'acknowledged', 'resolved')),
    due_at timestamptz,
    -- How many messages there were; the id of a message is derived from it.
    messages integer not null default 0,
    notified_at timestamptz,
    last_change text,
    primary key (channel_id, incident_id),
    check ((next_change is null) = (due_at is null))
);
create index notification_threads_due on notification_threads (due_at) where due_at is not null;
create index notification_threads_incident on notification_threads (incident_id);
