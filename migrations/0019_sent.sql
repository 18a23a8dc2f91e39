-- Since when a command may have reached the provider, as long as nobody knows what came of it. Only of such a one must the
-- outcome be asked for first, and not be told as anything but unknown.
alter table triggers add column sent_at timestamptz;
