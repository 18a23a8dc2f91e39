-- What a key may do is remembered by the API for a moment; whoever changes it tells every replica at once.
create function tell_access_changed() returns trigger language plpgsql as $$
begin
    notify access_changed;
    return null;
end $$;
create trigger api_keys_changed after update or delete on api_keys
    for each statement execute function tell_access_changed();
create trigger memberships_changed after update or delete on memberships
    for each statement execute function tell_access_changed();
create trigger users_changed after update or delete on users
    for each statement execute function tell_access_changed();
create trigger spaces_changed after update or delete on spaces
    for each statement execute function tell_access_changed();
