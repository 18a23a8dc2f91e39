//! One retention pass: all rows past retention are removed, kind by kind, under a lease that one worker
//! holds.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use platform::health::Heartbeat;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::kinds::{KINDS, RetainedKind};
use crate::metrics::count_removed_rows;
use crate::store::retention::{self, DueRetention};

/// The interval between two passes, as a PostgreSQL interval.
const PASS_INTERVAL: &str = "6 hours";
/// The maximum time without progress before another worker may start a pass, as a PostgreSQL interval.
const LEASE: &str = "5 minutes";
/// The year 1, which is before every row.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).unwrap();
/// Few enough rows that a statement takes milliseconds.
const BATCH: i64 = 1_000;

/// Runs a pass if one is due. Rows that were removed before an error stay removed.
pub async fn run_due_pass(
    pool: &PgPool,
    rows_per_second: u32,
    heartbeat: &Heartbeat,
    stop: &CancellationToken,
) -> sqlx::Result<()> {
    let Some((mut lease, due)) = PassLease::claim(pool).await? else { return Ok(()) };
    for kind in &KINDS {
        let due = due.iter().find(|due| due.what == kind.what);
        if let Some(DueRetention { days: Some(days), before: Some(before), .. }) = due {
            let (days, before) = (*days, *before);
            let pass = KindPass { pool, kind, days, before, rows_per_second, heartbeat, stop };
            if !pass.run(&mut lease).await? {
                return Ok(());
            }
        }
    }
    lease.renew(PASS_INTERVAL).await.map(drop)
}

/// The exclusive right to remove rows until a time. It is lost when another worker moves that time, as
/// storing another policy does.
struct PassLease<'a> {
    pool: &'a PgPool,
    until: DateTime<Utc>,
}

impl<'a> PassLease<'a> {
    async fn claim(pool: &'a PgPool) -> sqlx::Result<Option<(Self, Vec<DueRetention>)>> {
        let due = retention::claim_pass(pool, LEASE).await?;
        let until = due.first().map(|due| due.next_pass_at);
        Ok(until.map(|until| (Self { pool, until }, due)))
    }

    /// Extends the lease to the end of an interval from now; false when it is lost.
    async fn renew(&mut self, interval: &str) -> sqlx::Result<bool> {
        let until = retention::move_pass(self.pool, self.until, interval).await?;
        self.until = until.unwrap_or(self.until);
        Ok(until.is_some())
    }
}

/// The removal of one kind of row within a pass.
struct KindPass<'a> {
    pool: &'a PgPool,
    kind: &'a RetainedKind,
    days: i32,
    before: DateTime<Utc>,
    rows_per_second: u32,
    heartbeat: &'a Heartbeat,
    stop: &'a CancellationToken,
}

/// The time and id of the last row that was checked in a partition.
type ScanPosition = (DateTime<Utc>, Uuid);

impl KindPass<'_> {
    /// Returns false when it was stopped, or its lease was lost, before the end.
    async fn run(&self, lease: &mut PassLease<'_>) -> sqlx::Result<bool> {
        let started = Instant::now();
        let mut removed = 0;
        for partition in self.kind.sql.find_partitions(self.pool).await? {
            let mut position = Some((BEGINNING, Uuid::nil()));
            while let Some(from) = position {
                if self.stop.is_cancelled() {
                    lease.renew("0").await?;
                    return Ok(false);
                }
                if !lease.renew(LEASE).await? {
                    return Ok(false);
                }
                let (rows, next) = self.remove_batch(partition, from).await?;
                (removed, position) = (removed + rows, next);
                count_removed_rows(self.kind.what, rows);
                let pause = Duration::from_secs_f64(rows as f64 / f64::from(self.rows_per_second));
                self.heartbeat.record_before_pause(pause);
                let _ = tokio::time::timeout(pause, self.stop.cancelled()).await;
            }
        }
        let (what, days, seconds) = (self.kind.what, self.days, started.elapsed().as_secs_f64());
        tracing::info!(what, days, removed, seconds, "retention pass finished");
        Ok(true)
    }

    /// Checks the next rows and removes the removable ones; returns their number, and the next position.
    async fn remove_batch(
        &self,
        partition: Uuid,
        from: ScanPosition,
    ) -> sqlx::Result<(u64, Option<ScanPosition>)> {
        let mut tx = self.pool.begin().await?;
        let sql = &self.kind.sql;
        let found = sql.find_old(&mut tx, partition, self.before, from, BATCH).await?;
        let removable: Vec<Uuid> =
            found.iter().filter(|(.., removable)| *removable).map(|(id, ..)| *id).collect();
        let removed = if removable.is_empty() { 0 } else { sql.remove(&mut tx, &removable).await? };
        tx.commit().await?;
        let next = match found.last() {
            // The rows found may have more than a batch to remove, such as a run its task runs.
            Some(_) if removed >= BATCH.unsigned_abs() => Some(from),
            Some((id, at, _)) => Some((*at, *id)),
            None => None,
        };
        Ok((removed, next))
    }
}
