-- Creates the three PostgreSQL roles of an installation: the owner of the schema, which migrates and administers; the
-- worker; the API. Run it with psql 15 or later on the installation's database, as a user who owns the database and may
-- create roles:
--
--     psql --no-psqlrc --set ON_ERROR_STOP=1 --file deploy/roles.sql
--
-- The passwords come from ORCHESTRATION_OWNER_PASSWORD, ORCHESTRATION_WORKER_PASSWORD and ORCHESTRATION_API_PASSWORD; if a
-- variable is not set, the role keeps its password. `--set owner=… --set worker=… --set api=…` select other names. The
-- script can be run repeatedly. The roles' privileges in the schema are in migrations/grants.sql; `orchestration-api
-- migrate` grants them.

\set ON_ERROR_STOP 1
\if :{?owner} \else \set owner orchestration_owner \endif
\if :{?worker} \else \set worker orchestration_worker \endif
\if :{?api} \else \set api orchestration_api \endif
\set owner_password ''
\set worker_password ''
\set api_password ''
\getenv owner_password ORCHESTRATION_OWNER_PASSWORD
\getenv worker_password ORCHESTRATION_WORKER_PASSWORD
\getenv api_password ORCHESTRATION_API_PASSWORD

select format('create role %I login', name)
from (values (:'owner'), (:'worker'), (:'api')) as wanted (name)
where not exists (select from pg_roles where rolname = name)
\gexec

select format('alter role %I password %L', name, password)
from (values (:'owner', :'owner_password'), (:'worker', :'worker_password'), (:'api', :'api_password'))
    as wanted (name, password)
where password <> ''
\gexec

begin;
-- Only the roles named here may connect.
select format('revoke all on database %I from public', current_database()) \gexec
revoke create on schema public from public;
select format('grant connect, create on database %I to %I', current_database(), :'owner') \gexec
select format('grant connect on database %I to %I, %I', current_database(), :'worker', :'api') \gexec
grant usage, create on schema public to :"owner";
grant usage on schema public to :"worker", :"api";
commit;

-- A role that is a superuser, creates roles, or can become the owner would bypass all restrictions.
select format(
    'do $do$ begin raise exception %L; end $do$',
    rolname || ' may do more than it must: take SUPERUSER, CREATEROLE and its memberships away, or name another role')
from pg_roles
where rolname in (:'worker', :'api') and (rolsuper or rolcreaterole or pg_has_role(rolname, :'owner', 'member'))
\gexec
