-- What is too old is looked through by age.
create index audit_at on audit (at, id);
