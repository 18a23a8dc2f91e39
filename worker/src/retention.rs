//! Retention: what is older than it is to be kept leaves PostgreSQL, in small batches, at a steady pace, by one worker
//! at a time. That it does not come back from Kafka or from the provider is for `project` and `sync`, which read what is
//! kept from the table that this writes.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often what has grown too old is looked for.
const PASS_EVERY: &str = "6 hours";
/// How long a pass may stand still before another worker begins one.
const STANDSTILL: &str = "5 minutes";
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Before everything: the year 1, which PostgreSQL knows too.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).unwrap();
/// Few enough that a statement takes milliseconds.
const BATCH: i64 = 1_000;

/// How long things are kept: for so many days, or for ever. Never less than `LEAST` days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep<const LEAST: i32>(Option<i32>);

impl<const LEAST: i32> FromStr for Keep<LEAST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "forever" => Ok(Self(None)),
            Ok(days @ ..=36_500) if days >= LEAST => Ok(Self(Some(days))),
            _ => Err(format!("must be `forever` or a number of days from {LEAST} to 36500")),
        }
    }
}

impl<const LEAST: i32> fmt::Display for Keep<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(days) => write!(f, "{days}"),
            None => f.write_str("forever"),
        }
    }
}

/// What is kept how long.
#[derive(Args, Clone, Debug)]
pub struct RetentionConfig {
    /// Days that runs and their task runs are kept after they ended, or `forever`. A pipeline's latest run stays, and
    /// so do runs with comments. Histories are read no further back, whatever a connector's history_days say
    #[arg(long, env = "ORCHESTRATION_KEEP_RUNS", default_value_t = Keep(None))]
    pub keep_runs: Keep<1>,

    /// Days that task runs are kept after their run ended, where that is shorter
    #[arg(long, env = "ORCHESTRATION_KEEP_TASK_RUNS")]
    pub keep_task_runs: Option<Keep<1>>,

    /// Days that syncs are kept, or `forever`. A connector's latest stays. A request that Kafka still holds, for seven
    /// days, must find its sync
    #[arg(long, env = "ORCHESTRATION_KEEP_SYNCS", default_value_t = Keep(Some(30)))]
    pub keep_syncs: Keep<8>,

    /// Days that commands to trigger a run are kept, with their idempotency keys, or `forever`
    #[arg(long, env = "ORCHESTRATION_KEEP_TRIGGERS", default_value_t = Keep(Some(30)))]
    pub keep_triggers: Keep<2>,

    /// Days that dead letters are kept after they were sent again, or `forever`. Others stay
    #[arg(long, env = "ORCHESTRATION_KEEP_DEAD_LETTERS", default_value_t = Keep(Some(30)))]
    pub keep_dead_letters: Keep<1>,

    /// Rows a second that are removed at most, of what is older than that
    #[arg(long, env = "ORCHESTRATION_RETENTION_ROWS_PER_SECOND", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub retention_rows_per_second: u32,
}

impl RetentionConfig {
    /// # Errors
    /// When task runs are to outlive their runs.
    pub fn check(&self) -> anyhow::Result<()> {
        let (runs, task_runs) = (self.keep_runs.0, self.keep_task_runs.and_then(|keep| keep.0));
        let outlives = runs.zip(task_runs).is_some_and(|(runs, task_runs)| task_runs > runs);
        anyhow::ensure!(
            !outlives,
            "--keep-task-runs is longer than --keep-runs: task runs go with their run; make it shorter, or leave it out"
        );
        Ok(())
    }

    fn task_run_days(&self) -> Option<i32> {
        self.keep_task_runs.and_then(|keep| keep.0).or(self.keep_runs.0)
    }
}

/// A kind of thing that grows old.
struct Kind {
    what: &'static str,
    days: fn(&RetentionConfig) -> Option<i32>,
    /// → the ids of what such things are looked through by, one after the other.
    groups: &'static str,
    /// `$1` a group, `$2` a time, `$3` and `$4` the time and id looked at last, `$5` how many → the next ones that are
    /// older than `$2`: id, time, and whether it may go, locked then.
    find: &'static str,
    /// `$1` ids of those that may go.
    remove: &'static str,
}

/// Task runs stand before runs: a run goes when it has none left.
const KINDS: [Kind; 5] = [
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
            order by created_at, id limit $5 for update skip locked",
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
];

/// For what is looked through as one.
const ONE_GROUP: &str = "select '00000000-0000-0000-0000-000000000000'::uuid";

/// Removes what is too old, again and again until stopped.
pub async fn keep(pool: PgPool, config: RetentionConfig, stop: CancellationToken) {
    let mut agreed = false;
    while !stop.is_cancelled() {
        let looked = async {
            if !agreed {
                agree(&pool, &config).await?;
                agreed = true;
            }
            look(&pool, config.retention_rows_per_second, &stop).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(%error, "what is too old could not be removed; it is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Writes down how long things are kept. Histories whose reading was cut short by a shorter time are due again.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn agree(pool: &PgPool, config: &RetentionConfig) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let mut changed = false;
    for kind in &KINDS {
        let days = (kind.days)(config);
        let before: Option<Option<i32>> =
            sqlx::query_scalar("select days from retention where what = $1 for update")
                .bind(kind.what)
                .fetch_optional(&mut *tx)
                .await?;
        if before == Some(days) {
            continue;
        }
        sqlx::query(
            "insert into retention (what, days) values ($1, $2)
             on conflict (what) do update set days = excluded.days",
        )
        .bind(kind.what)
        .bind(days)
        .execute(&mut *tx)
        .await?;
        changed = true;
        tracing::info!(what = kind.what, days, "is kept for so many days, for ever where none are named");
        if let Some(Some(cut)) = before
            && days.is_none_or(|days| days > cut)
            && matches!(kind.what, "runs" | "task_runs")
        {
            sqlx::query("update pipeline_crawls set history_days = 0 where history_days > $1")
                .bind(cut)
                .execute(&mut *tx)
                .await?;
        }
    }
    if changed {
        sqlx::query("update retention set next_pass_at = now()").execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Removes everything that is too old, if that is due: one kind after the other, since a run goes after its task runs.
///
/// # Errors
/// When PostgreSQL is away; what was removed by then is removed.
pub async fn look(pool: &PgPool, rows_per_second: u32, stop: &CancellationToken) -> Result<(), sqlx::Error> {
    let Some((mut turn, due)) = Turn::take(pool).await? else { return Ok(()) };
    for kind in &KINDS {
        let due = due.iter().find(|due| due.what == kind.what);
        if let Some(Due { days: Some(days), before: Some(before), .. }) = due {
            let pass = Pass { pool, kind, days: *days, before: *before, rows_per_second, stop };
            if !pass.run(&mut turn).await? {
                return Ok(());
            }
        }
    }
    turn.put_off(PASS_EVERY).await.map(drop)
}

/// What is to be looked through.
#[derive(sqlx::FromRow)]
struct Due {
    what: String,
    days: Option<i32>,
    before: Option<DateTime<Utc>>,
    next_pass_at: DateTime<Utc>,
}

/// The right to remove things, until then. Whoever wants it otherwise meanwhile, as `agree` does, moves the time.
struct Turn<'a> {
    pool: &'a PgPool,
    until: DateTime<Utc>,
}

impl<'a> Turn<'a> {
    async fn take(pool: &'a PgPool) -> Result<Option<(Self, Vec<Due>)>, sqlx::Error> {
        let due: Vec<Due> = sqlx::query_as(
            "update retention set next_pass_at = now() + $1::interval where next_pass_at <= now()
             returning what, days, now() - days * interval '24 hours' as before, next_pass_at",
        )
        .bind(STANDSTILL)
        .fetch_all(pool)
        .await?;
        let until = due.first().map(|due| due.next_pass_at);
        Ok(until.map(|until| (Self { pool, until }, due)))
    }

    /// Puts off the time when somebody else may begin; false when it is not ours any more.
    async fn put_off(&mut self, time: &str) -> Result<bool, sqlx::Error> {
        let until: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "update retention set next_pass_at = now() + $2::interval where next_pass_at = $1
             returning next_pass_at",
        )
        .bind(self.until)
        .bind(time)
        .fetch_all(self.pool)
        .await?;
        self.until = until.first().copied().unwrap_or(self.until);
        Ok(!until.is_empty())
    }
}

/// One look through everything of a kind.
struct Pass<'a> {
    pool: &'a PgPool,
    kind: &'a Kind,
    days: i32,
    before: DateTime<Utc>,
    rows_per_second: u32,
    stop: &'a CancellationToken,
}

/// How far a pass has come in a group.
type Place = (DateTime<Utc>, Uuid);

impl Pass<'_> {
    /// False when it was ended before its time.
    async fn run(&self, turn: &mut Turn<'_>) -> Result<bool, sqlx::Error> {
        let began = Instant::now();
        let mut removed = 0;
        let groups: Vec<Uuid> = sqlx::query_scalar(self.kind.groups).fetch_all(self.pool).await?;
        for group in groups {
            let mut place = Some((BEGINNING, Uuid::nil()));
            while let Some(here) = place {
                if self.stop.is_cancelled() {
                    turn.put_off("0").await?;
                    return Ok(false);
                }
                if !turn.put_off(STANDSTILL).await? {
                    return Ok(false);
                }
                let (rows, next) = self.batch(group, here).await?;
                (removed, place) = (removed + rows, next);
                metrics::counter!("orchestration_retention_removed_total", "what" => self.kind.what)
                    .increment(rows);
                let pause = Duration::from_secs_f64(rows as f64 / f64::from(self.rows_per_second));
                let _ = tokio::time::timeout(pause, self.stop.cancelled()).await;
            }
        }
        let (what, days, seconds) = (self.kind.what, self.days, began.elapsed().as_secs_f64());
        tracing::info!(what, days, removed, seconds, "what was older is removed");
        Ok(true)
    }

    /// Looks at some and removes those that may go; tells how many rows went, and where to go on.
    async fn batch(&self, group: Uuid, (at, id): Place) -> Result<(u64, Option<Place>), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let found: Vec<(Uuid, DateTime<Utc>, bool)> = sqlx::query_as(self.kind.find)
            .bind(group)
            .bind(self.before)
            .bind(at)
            .bind(id)
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await?;
        let gone: Vec<Uuid> = found.iter().filter(|(_, _, may_go)| *may_go).map(|(id, ..)| *id).collect();
        let removed = match gone.is_empty() {
            true => 0,
            false => remove(&mut tx, self.kind, &gone).await?,
        };
        tx.commit().await?;
        let next = match found.last() {
            // There may be more of the same.
            Some(_) if removed >= BATCH.unsigned_abs() => Some((at, id)),
            Some((id, at, _)) => Some((*at, *id)),
            None => None,
        };
        Ok((removed, next))
    }
}

async fn remove(db: &mut PgConnection, kind: &Kind, ids: &[Uuid]) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(kind.remove).bind(ids).execute(db).await?.rows_affected())
}

/// For how many days runs and task runs are kept; none for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    pub runs: Option<i32>,
    pub task_runs: Option<i32>,
}

impl Kept {
    /// As the workers were last told.
    ///
    /// # Errors
    /// When PostgreSQL is away.
    pub async fn read(pool: &PgPool) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "select (select days from retention where what = 'runs') as runs,
                 (select days from retention where what = 'task_runs') as task_runs",
        )
        .fetch_one(pool)
        .await
    }
}
