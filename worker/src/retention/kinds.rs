//! What grows old: where it is found, when it may go, and how it is removed.

use super::RetentionConfig;

/// A kind of thing that grows old.
pub(super) struct Kind {
    pub what: &'static str,
    pub days: fn(&RetentionConfig) -> Option<i32>,
    /// → the ids of what such things are looked through by, one after the other.
    pub groups: &'static str,
    /// `$1` a group, `$2` a time, `$3` and `$4` the time and id looked at last, `$5` how many → the next ones that are
    /// older than `$2`: id, time, and whether it may go; locked then, where somebody else may want it.
    pub find: &'static str,
    /// `$1` ids of those that may go.
    pub remove: &'static str,
}

/// Task runs stand before runs: a run goes when it has none left.
pub(super) const KINDS: [Kind; 6] = [
    Kind {
        what: "task_runs",
        days: RetentionConfig::task_run_days,
        groups: "select id from spaces",
        find: "
            select old.id, old.ordered_at, mine.id is not null from (
                select id, ordered_at from runs
                where space_id = $1 and ordered_at < $2 and (ordered_at, id) > ($3, $4)
                order by ordered_at, id limit $5) old
            left join lateral (
                select r.id from runs r where r.id = old.id
                    and (exists (select from task_runs t where t.run_id = old.id and t.deleted_at is null)
                         or exists (select from task_runs t where t.run_id = old.id and t.deleted_at is not null))
                    and may_go(old.id, $2)
                for update skip locked) mine on true
            order by old.ordered_at, old.id",
        // Seen with fresh eyes: a comment that was written before the run was locked keeps it. As many as a batch.
        remove: "
            with free as materialized (
                select run.id from unnest($1) as run(id)
                where not exists (select from comments c where c.run_id = run.id and c.task_run_id is null)
                    and not exists (select from comments c where c.run_id = run.id and c.task_run_id is not null)),
            gone as materialized (
                select id from task_runs where run_id = any(array(select id from free)) and deleted_at is null
                union all
                select id from task_runs where run_id = any(array(select id from free)) and deleted_at is not null
                limit 1000)
            delete from task_runs where id = any(array(select id from gone))",
    },
    Kind {
        what: "runs",
        days: |config| config.keep_runs.0,
        groups: "select id from spaces",
        find: "
            select old.id, old.ordered_at, mine.id is not null from (
                select id, ordered_at from runs
                where space_id = $1 and ordered_at < $2 and (ordered_at, id) > ($3, $4)
                order by ordered_at, id limit $5) old
            left join lateral (
                select r.id from runs r where r.id = old.id and may_go(old.id, $2)
                    and not exists (select from task_runs t where t.run_id = old.id and t.deleted_at is null)
                    and not exists (select from task_runs t where t.run_id = old.id and t.deleted_at is not null)
                for update skip locked) mine on true
            order by old.ordered_at, old.id",
        remove: "
            delete from runs r where r.id = any($1)
                and not exists (select from comments c where c.run_id = r.id and c.task_run_id is null)
                and not exists (select from comments c where c.run_id = r.id and c.task_run_id is not null)",
    },
    Kind {
        what: "syncs",
        days: |config| config.keep_syncs.0,
        groups: "select id from connectors",
        find: "
            select id, requested_at, true from syncs
            where connector_id = $1 and requested_at < $2 and (requested_at, id) > ($3, $4)
                and status in ('succeeded', 'failed')
                and id <> (select latest.id from syncs latest
                           where latest.connector_id = $1 and latest.status in ('succeeded', 'failed')
                           order by latest.requested_at desc, latest.id desc limit 1)
            order by requested_at, id limit $5 for update skip locked",
        remove: "delete from syncs where id = any($1)",
    },
    Kind {
        what: "triggers",
        days: |config| config.keep_triggers.0,
        groups: ONE_GROUP,
        find: "
            select id, created_at, true from triggers
            where $1::uuid is not null and created_at < $2 and (created_at, id) > ($3, $4)
            order by created_at, id limit $5",
        remove: "delete from triggers where id = any($1)",
    },
    Kind {
        what: "dead_letters",
        days: |config| config.keep_dead_letters.0,
        groups: ONE_GROUP,
        find: "
            select id, replayed_at, true from dead_letters
            where $1::uuid is not null and replayed_at < $2 and (replayed_at, id) > ($3, $4)
            order by replayed_at, id limit $5 for update skip locked",
        remove: "delete from dead_letters where id = any($1)",
    },
    Kind {
        what: "audit",
        days: |config| config.keep_audit.0,
        groups: ONE_GROUP,
        find: "
            select id, at, true from audit
            where $1::uuid is not null and at < $2 and (at, id) > ($3, $4)
            order by at, id limit $5",
        remove: "delete from audit where id = any($1)",
    },
];

/// For what is looked through as one.
const ONE_GROUP: &str = "select '00000000-0000-0000-0000-000000000000'::uuid";
