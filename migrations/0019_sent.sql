-- Since when a command may have reached the provider, as long as nobody knows what came of it. Only of such a one must the
-- outcome be asked for first, and not be told as anything but unknown. Of those that the version before writes down nobody
-- knows: they count as sent.
alter table triggers add column sent_at timestamptz default '-infinity';
