-- What is too old is looked through by age.
create index audit_at on audit (at, id);

-- It runs with its owner's rights, and only where a comment is written.
revoke execute on function hold_commented_run() from public;
