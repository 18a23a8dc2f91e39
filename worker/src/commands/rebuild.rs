//! Rebuilds the read model from the topics alone: into fresh tables beside the live ones, which are served
//! and projected into until the tables are swapped in one transaction. It takes the owner of the schema,
//! because the worker's own role may not create tables.

mod state_log;

use std::time::Duration;

use anyhow::bail;
use contract::events::Topic;
use indicatif::ProgressBar;
use platform::offsets::{Offsets, find_projected};
use platform::{db, pipeline_metrics};
use provider::connector::AIRFLOW;
use sqlx::{Connection, PgConnection};
use tokio::task::block_in_place;

use super::{FULL_SYNC_SPACING, FULL_SYNCS_WITHIN};
use crate::cli::RebuildArgs;
use crate::consumer::bisect::{Bisection, is_caused_by_data};
use crate::projection;
use crate::records::ConsumedRecord;
use crate::store::rebuild::is_lock_conflict;
use crate::store::{connector_state, rebuild};
use state_log::StateLog;

/// How often new records may arrive between reading to the end and swapping.
const MAX_BEHIND_ATTEMPTS: usize = 100;
/// How often the swap gives way to other sessions, for an hour at least: so long may a backup take.
const MAX_LOCK_ATTEMPTS: usize = 720;
/// The pause between two attempts, in which the statements go on that waited behind the swap.
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// Rebuilds and swaps the read model, requests a full sync of every connector, because a compacted log may
/// lack the latest events, and prints what it did. After an error the read model is as it was.
pub async fn rebuild(args: &RebuildArgs) -> anyhow::Result<()> {
    let settings = &args.settings;
    let pool = db::pool_of_long_statements(&settings.database, "orchestration-worker-rebuild")?;
    db::check_sessions(&pool).await?;
    let mut db = pool.acquire().await?.detach();
    // Held until this connection ends: a second rebuild would drop the tables of the first one.
    if !rebuild::try_begin(&mut db).await? {
        bail!("another rebuild is under way; wait for its end, or stop it");
    }
    let mut log = StateLog::open(&settings.kafka)?;
    log.check_was_projected(&find_projected(&mut db).await?)?;
    if !args.accept_loss {
        log.check_is_complete(rebuild::find_last_log_offsets(&mut db).await?)?;
    }
    rebuild::create_fresh_tables(&mut db).await?;
    let bar = ProgressBar::new(log.lag()?);
    let mut rebuilding = Rebuilding { db: &mut db, log, bar, records_read: 0 };
    rebuilding.swap().await?;
    rebuilding.bar.finish_and_clear();
    let records = rebuilding.records_read;
    db.close().await?;
    let (spacing, within) = (FULL_SYNC_SPACING, FULL_SYNCS_WITHIN);
    let requested = connector_state::schedule_full_syncs(&pool, AIRFLOW, spacing, within).await?;
    println!("the read model is new, from {records} records; {requested} full syncs asked for");
    Ok(())
}

/// A rebuild whose fresh tables exist.
struct Rebuilding<'a> {
    db: &'a mut PgConnection,
    log: StateLog,
    bar: ProgressBar,
    records_read: u64,
}

/// The outcome of an attempt to swap the tables.
enum SwapAttempt {
    Swapped,
    /// A worker has projected further than the rebuild.
    Behind,
    /// Other sessions hold locks on the live tables, such as those of a backup.
    Locked,
}

impl Rebuilding<'_> {
    async fn project_to_end(&mut self) -> anyhow::Result<()> {
        for topic in Topic::STATE {
            let mut unread = self.log.begin(topic)?;
            while !unread.is_read() {
                let records = block_in_place(|| self.log.read_batch(&mut unread))?;
                let mut tx = self.db.begin().await?;
                apply(&mut tx, &records).await?;
                pipeline_metrics::add_changes(&mut tx).await?;
                tx.commit().await?;
                self.bar.inc(records.len() as u64);
                self.records_read += records.len() as u64;
            }
        }
        while pipeline_metrics::add_changes(self.db).await? {}
        Ok(())
    }

    /// Projects to the end of the log and swaps the tables, as often as workers and other sessions require.
    async fn swap(&mut self) -> anyhow::Result<()> {
        let (mut behind, mut locked) = (0, 0);
        self.project_to_end().await?;
        rebuild::analyze_fresh_tables(self.db).await?;
        loop {
            self.project_to_end().await?;
            match try_swap(self.db, self.log.offsets()).await? {
                SwapAttempt::Swapped => return Ok(()),
                SwapAttempt::Behind => behind += 1,
                SwapAttempt::Locked => {
                    if locked == 0 {
                        tracing::info!("the swap waits for other sessions, such as a backup");
                    }
                    locked += 1;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
            }
            if behind >= MAX_BEHIND_ATTEMPTS {
                bail!(
                    "records arrive faster than they can be read; try again at a quieter time, the old read \
                     model stays"
                );
            }
            if locked >= MAX_LOCK_ATTEMPTS {
                bail!(
                    "other sessions keep locks on pipelines, runs or task_runs; try again after a backup has \
                     ended, the old read model stays"
                );
            }
        }
    }
}

/// Applies a batch. Rejected records are logged and skipped.
async fn apply(db: &mut PgConnection, records: &[ConsumedRecord]) -> sqlx::Result<()> {
    let mut bisection = Bisection::new(records);
    while let Some(slice) = bisection.next_slice() {
        let mut savepoint = db.begin().await?;
        match projection::apply(&mut savepoint, slice).await {
            Ok(rejected) => {
                savepoint.commit().await?;
                rejected.iter().for_each(|rejected| log_skipped(&slice[rejected.index], &rejected.error));
            }
            Err(error) if is_caused_by_data(&error) => {
                savepoint.rollback().await?;
                if let Some(record) = bisection.halve(slice) {
                    log_skipped(record, &error.to_string());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn log_skipped(record: &ConsumedRecord, error: &str) {
    let ConsumedRecord { topic_name: topic, partition, offset, .. } = record;
    tracing::warn!(topic, partition, offset, error, "invalid record skipped");
}

/// Swaps the tables, unless a worker has projected further than `reached`, or a lock is not free within two
/// seconds.
async fn try_swap(db: &mut PgConnection, reached: &Offsets) -> sqlx::Result<SwapAttempt> {
    let mut tx = db.begin().await?;
    match rebuild::lock_for_swap(&mut tx).await {
        Err(error) if is_lock_conflict(&error) => return Ok(SwapAttempt::Locked),
        locked => locked?,
    }
    let projected = find_projected(&mut *tx).await?;
    let is_behind = projected
        .iter()
        .any(|(partition, next)| reached.get(partition).is_some_and(|reached| reached < next));
    if is_behind {
        return Ok(SwapAttempt::Behind);
    }
    rebuild::swap_tables(&mut tx).await?;
    tx.commit().await?;
    Ok(SwapAttempt::Swapped)
}
