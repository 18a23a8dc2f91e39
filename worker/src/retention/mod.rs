//! Retention: what is older than it is to be kept leaves PostgreSQL, in small batches, at a steady pace, by one worker
//! at a time. That it does not come back from Kafka or from the provider is for `project` and `sync`, which read what is
//! kept from the table that this writes.

mod config;
mod kinds;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
pub use config::{Kept, RetentionConfig};
use kinds::{KINDS, Kind};
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
    // Row by row it could wait for a worker that waits for it.
    sqlx::query("lock table retention in share row exclusive mode").execute(&mut *tx).await?;
    let mut changed = false;
    for kind in &KINDS {
        let days = (kind.days)(config);
        let before: Option<Option<i32>> = sqlx::query_scalar("select days from retention where what = $1")
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
