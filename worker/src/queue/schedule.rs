//! Schedules: every second one statement enqueues a sync for each connector that is due. Any number of
//! workers may run it, because a row lock gives each tick to one of them. Ticks that were missed are enqueued
//! once, and counted.

use chrono::{DateTime, SubsecRound, Utc};
use contract::ids::SyncId;
use platform::sync_queue::{NewSync, SyncOrigin, enqueue};
use provider::connector::parse_schedule;
use sqlx::PgPool;
use uuid::Uuid;

use crate::metrics::count_missed_ticks;
use crate::store::connector_state::{self, DueConnector, NextTick};

/// How many connectors are enqueued at once at most.
const BATCH: i64 = 1_000;
/// The missed ticks of a connector are counted up to this number.
const MAX_MISSED: usize = 10_000;

/// Enqueues a sync for every connector that is due and has no open scheduled sync; returns how many.
pub async fn enqueue_due(pool: &PgPool) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let due = connector_state::lock_due(&mut tx, BATCH).await?;
    let mut next_ticks = Vec::new();
    let mut scheduled = Vec::new();
    for connector in &due {
        let (next_due_at, passed) = next_tick(connector);
        let missed_ticks = i64::try_from(passed + usize::from(connector.is_busy)).unwrap_or(i64::MAX);
        let DueConnector { connector_id, space_id, next_due_at: tick_at, .. } = *connector;
        next_ticks.push(NextTick { connector_id, next_due_at, missed_ticks });
        if !connector.is_busy {
            scheduled.push(NewSync {
                id: SyncId(Uuid::now_v7()),
                space_id,
                connector_id,
                full: false,
                accept_mass_deletion: false,
                origin: SyncOrigin::Schedule { tick_at },
            });
        }
    }
    connector_state::update_next_ticks(&mut tx, &next_ticks).await?;
    enqueue(&mut tx, &scheduled).await?;
    tx.commit().await?;
    count_missed_ticks(next_ticks.iter().map(|tick| tick.missed_ticks).sum::<i64>().unsigned_abs());
    Ok(scheduled.len())
}

/// When a connector is due next, and how many ticks after the due one have passed.
fn next_tick(due: &DueConnector) -> (Option<DateTime<Utc>>, usize) {
    let Some(cron) = due.schedule.as_deref().and_then(|line| parse_schedule(line).ok()) else {
        return (None, 0);
    };
    // A fraction of a second would be carried into every later tick.
    let following = |tick: &DateTime<Utc>| cron.find_next_occurrence(&tick.trunc_subsecs(0), false).ok();
    let next = following(&due.now);
    let passed = std::iter::successors(following(&due.next_due_at), following)
        .take_while(|tick| *tick <= due.now)
        .take(MAX_MISSED)
        .count();
    (next, passed)
}
