-- The size of a conf that was left out, because it is too large or cannot be read: conf is then the JSON null.
alter table runs add column conf_bytes bigint;
