//! `retention`: for how many days each kind of row is kept, when the next pass is due, and the statements
//! that find and remove rows past retention.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// For how many days runs and task runs are kept; none means forever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct StoredRetention {
    pub runs: Option<i32>,
    pub task_runs: Option<i32>,
}

impl StoredRetention {
    /// Finds the retention that a worker stored last.
    pub(crate) async fn find(db: impl PgExecutor<'_>) -> sqlx::Result<Self> {
        sqlx::query_as(
            "select (select days from retention where what = 'runs') as runs,
                 (select days from retention where what = 'task_runs') as task_runs",
        )
        .fetch_one(db)
        .await
    }
}

/// Blocks other workers from storing their policy until the end of the transaction. Locks of single rows
/// could deadlock.
pub(crate) async fn lock(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table retention in share row exclusive mode").execute(db).await?;
    Ok(())
}

/// Finds the stored days of a kind. The outer option is empty before any worker has stored them.
pub(crate) async fn find_days(db: &mut PgConnection, what: &str) -> sqlx::Result<Option<Option<i32>>> {
    sqlx::query_scalar("select days from retention where what = $1").bind(what).fetch_optional(db).await
}

/// Stores the days of a kind.
pub(crate) async fn set_days(db: &mut PgConnection, what: &str, days: Option<i32>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into retention (what, days) values ($1, $2)
         on conflict (what) do update set days = excluded.days",
    )
    .bind(what)
    .bind(days)
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a pass due now. A pass under way ends, because its lease is lost.
pub(crate) async fn make_pass_due(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("update retention set next_pass_at = now()").execute(db).await?;
    Ok(())
}

/// A kind of row in a pass that was claimed.
#[derive(sqlx::FromRow)]
pub(crate) struct DueRetention {
    pub what: String,
    pub days: Option<i32>,
    /// Rows before this time are past retention; none when all are kept.
    pub before: Option<DateTime<Utc>>,
    pub next_pass_at: DateTime<Utc>,
}

/// Claims a pass that is due, for this long (a PostgreSQL interval); empty when none is due.
pub(crate) async fn claim_pass(db: impl PgExecutor<'_>, duration: &str) -> sqlx::Result<Vec<DueRetention>> {
    sqlx::query_as(
        "update retention set next_pass_at = now() + $1::interval where next_pass_at <= now()
         returning what, days, now() - days * interval '24 hours' as before, next_pass_at",
    )
    .bind(duration)
    .fetch_all(db)
    .await
}

/// Moves the next pass from this time to the end of an interval from now; none when another worker has moved
/// it.
pub(crate) async fn move_pass(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    interval: &str,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let moved: Vec<DateTime<Utc>> = sqlx::query_scalar(
        "update retention set next_pass_at = now() + $2::interval where next_pass_at = $1
         returning next_pass_at",
    )
    .bind(from)
    .bind(interval)
    .fetch_all(db)
    .await?;
    Ok(moved.first().copied())
}

/// The statements of one kind of row.
pub(crate) struct RetentionSql {
    /// → partition ids (spaces or connectors); each partition is scanned separately.
    partitions: &'static str,
    /// `$1` partition id, `$2` time, `$3` and `$4` time and id of the row before, `$5` limit → the next rows
    /// older than `$2`: id, time, and whether it may be removed. Rows that others may use are locked then.
    find: &'static str,
    /// `$1` ids that may be removed.
    remove: &'static str,
}

impl RetentionSql {
    /// Finds the partitions of this kind.
    pub(crate) async fn find_partitions(&self, db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(self.partitions).fetch_all(db).await
    }

    /// Finds the next rows of a partition: id, time, and whether it may be removed.
    pub(crate) async fn find_old(
        &self,
        db: &mut PgConnection,
        partition: Uuid,
        before: DateTime<Utc>,
        (after_time, after_id): (DateTime<Utc>, Uuid),
        limit: i64,
    ) -> sqlx::Result<Vec<(Uuid, DateTime<Utc>, bool)>> {
        sqlx::query_as(self.find)
            .bind(partition)
            .bind(before)
            .bind(after_time)
            .bind(after_id)
            .bind(limit)
            .fetch_all(db)
            .await
    }

    /// Removes rows; returns how many.
    pub(crate) async fn remove(&self, db: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<u64> {
        Ok(sqlx::query(self.remove).bind(ids).execute(db).await?.rows_affected())
    }
}

pub(crate) const TASK_RUNS: RetentionSql = RetentionSql {
    partitions: "select id from spaces",
    find: "
        select old.id, old.ordered_at, locked.id is not null from (
            select id, ordered_at from runs
            where space_id = $1 and ordered_at < $2 and (ordered_at, id) > ($3, $4)
            order by ordered_at, id limit $5) old
        left join lateral (
            select r.id from runs r where r.id = old.id
                and (exists (select from task_runs t where t.run_id = old.id and t.deleted_at is null)
                     or exists (select from task_runs t where t.run_id = old.id and t.deleted_at is not null))
                and may_go(old.id, $2)
            for update skip locked) locked on true
        order by old.ordered_at, old.id",
    // Comments are read again: one that was written before the run was locked keeps it. At most a batch is
    // removed.
    remove: "
        with run as materialized (
            select id from unnest($1) as r(id)
            where not exists (select from comments c where c.run_id = r.id and c.task_run_id is null)
                and not exists (select from comments c where c.run_id = r.id and c.task_run_id is not null)),
        task_run as materialized (
            select id from task_runs where run_id = any(array(select id from run)) and deleted_at is null
            union all
            select id from task_runs where run_id = any(array(select id from run)) and deleted_at is not null
            limit 1000)
        delete from task_runs where id = any(array(select id from task_run))",
};

pub(crate) const RUNS: RetentionSql = RetentionSql {
    partitions: "select id from spaces",
    find: "
        select old.id, old.ordered_at, locked.id is not null from (
            select id, ordered_at from runs
            where space_id = $1 and ordered_at < $2 and (ordered_at, id) > ($3, $4)
            order by ordered_at, id limit $5) old
        left join lateral (
            select r.id from runs r where r.id = old.id and may_go(old.id, $2)
                and not exists (select from task_runs t where t.run_id = old.id and t.deleted_at is null)
                and not exists (select from task_runs t where t.run_id = old.id and t.deleted_at is not null)
            for update skip locked) locked on true
        order by old.ordered_at, old.id",
    remove: "
        delete from runs r where r.id = any($1)
            and not exists (select from comments c where c.run_id = r.id and c.task_run_id is null)
            and not exists (select from comments c where c.run_id = r.id and c.task_run_id is not null)",
};

/// The statements of a table whose rows are removed by the age of a column, as far as a condition says so.
macro_rules! by_age {
    ($table:literal, $time:literal) => {
        by_age!($table, $time, "true", "")
    };
    ($table:literal, $time:literal, $condition:literal, $lock:literal) => {
        RetentionSql {
            partitions: SINGLE_PARTITION,
            find: concat!(
                "select id, ",
                $time,
                ", true from ",
                $table,
                " where $1::uuid is not null and ",
                $condition,
                " and ",
                $time,
                " < $2
                    and (",
                $time,
                ", id) > ($3, $4)
                order by ",
                $time,
                ", id limit $5 ",
                $lock
            ),
            remove: concat!("delete from ", $table, " where id = any($1) and ", $condition),
        }
    };
}

/// The statements of the syncs that satisfy a condition, without the last one of each connector.
macro_rules! syncs {
    ($condition:literal) => {
        RetentionSql {
            partitions: "select id from connectors",
            find: concat!(
                "select id, requested_at, true from syncs
                where connector_id = $1 and requested_at < $2 and (requested_at, id) > ($3, $4)
                    and ",
                $condition,
                "
                    and id <> (select latest.id from syncs latest
                               where latest.connector_id = $1 and latest.status in ('succeeded', 'failed')
                               order by latest.requested_at desc, latest.id desc limit 1)
                order by requested_at, id limit $5 for update skip locked"
            ),
            remove: "delete from syncs where id = any($1)",
        }
    };
}

pub(crate) const SYNCS: RetentionSql = syncs!("status in ('succeeded', 'failed')");

/// Scheduled syncs that found nothing.
pub(crate) const QUIET_SYNCS: RetentionSql = syncs!(
    "trigger = 'schedule' and status = 'succeeded'
                    and ((report ->> 'events_published')::bigint > 0) is not true"
);

pub(crate) const TRIGGERS: RetentionSql = by_age!("triggers", "created_at");

pub(crate) const DEAD_LETTERS: RetentionSql =
    by_age!("dead_letters", "replayed_at", "true", "for update skip locked");

pub(crate) const NOTIFICATION_DELIVERIES: RetentionSql =
    by_age!("notification_deliveries", "created_at", "next_attempt_at is null", "");

/// Without the entries of incidents that last: who has one is notified of the end.
pub(crate) const INBOX: RetentionSql = by_age!(
    "inbox",
    "created_at",
    "not exists (select from incidents i where i.id = incident_id and i.status <> 'resolved')",
    ""
);

pub(crate) const AUDIT: RetentionSql = by_age!("audit", "at");

pub(crate) const INCIDENTS: RetentionSql =
    by_age!("incidents", "resolved_at", "status = 'resolved'", "for update skip locked");

/// For kinds that are scanned as a whole.
const SINGLE_PARTITION: &str = "select '00000000-0000-0000-0000-000000000000'::uuid";
