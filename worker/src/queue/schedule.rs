//! Schedules: every second one transaction enqueues a sync for each due connector without an open scheduled
//! sync. Any number of workers may run it, because a row lock gives each tick to one of them. Ticks that were
//! missed are enqueued once, and counted.

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
/// So many missed ticks of a connector are counted one by one; the number of later ones follows from their
/// mean interval.
const MAX_COUNTED: usize = 100;

/// Enqueues a sync for every connector that is due and has no open scheduled sync; returns how many.
pub async fn enqueue_due(pool: &PgPool) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let due = connector_state::lock_due(&mut tx, BATCH).await?;
    let mut next_ticks = Vec::new();
    let mut scheduled = Vec::new();
    for connector in &due {
        let (next_due_at, passed) = next_tick(connector);
        let missed_ticks = passed + i64::from(connector.is_busy);
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

/// Enqueues the full syncs that were scheduled, such as after a rebuild, and are due; returns how many.
pub async fn enqueue_full_syncs(pool: &PgPool) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let due = connector_state::take_due_full_syncs(&mut *tx, BATCH).await?;
    let full_sync = |(space_id, connector_id)| NewSync {
        id: SyncId(Uuid::now_v7()),
        space_id,
        connector_id,
        full: true,
        accept_mass_deletion: false,
        origin: SyncOrigin::CommandLine,
    };
    let syncs: Vec<NewSync> = due.into_iter().map(full_sync).collect();
    let enqueued = enqueue(&mut tx, &syncs).await?;
    tx.commit().await?;
    Ok(enqueued)
}

/// When a connector is due next, and how many ticks after the due one have passed.
fn next_tick(due: &DueConnector) -> (Option<DateTime<Utc>>, i64) {
    let Some(cron) = due.schedule.as_deref().and_then(|line| parse_schedule(line).ok()) else {
        return (None, 0);
    };
    // A fraction of a second would be carried into every later tick.
    let following = |tick: &DateTime<Utc>| cron.find_next_occurrence(&tick.trunc_subsecs(0), false).ok();
    let counted: Vec<_> = std::iter::successors(following(&due.next_due_at), following)
        .take_while(|tick| *tick <= due.now)
        .take(MAX_COUNTED)
        .collect();
    let uncounted = match counted.as_slice() {
        [first, .., last] if counted.len() == MAX_COUNTED => estimate(*first, *last, due.now),
        _ => 0,
    };
    (following(&due.now), counted.len() as i64 + uncounted)
}

/// How many ticks follow the last counted one until now, at the mean interval of those that were counted. It
/// is exact for schedules at a fixed interval.
fn estimate(first: DateTime<Utc>, last: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let intervals = MAX_COUNTED as i64 - 1;
    (now - last).num_seconds().saturating_mul(intervals) / (last - first).num_seconds().max(1)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contract::ids::{ConnectorId, SpaceId};

    use super::*;

    fn missed(schedule: &str, away: TimeDelta) -> i64 {
        let next_due_at = DateTime::UNIX_EPOCH;
        let due = DueConnector {
            connector_id: ConnectorId(Uuid::nil()),
            space_id: SpaceId(Uuid::nil()),
            schedule: Some(schedule.to_owned()),
            next_due_at,
            now: next_due_at + away,
            is_busy: false,
        };
        let (next, missed) = next_tick(&due);
        assert!(next.unwrap() > due.now);
        missed
    }

    #[test]
    fn ticks_of_a_long_outage_are_counted_without_visiting_each() {
        assert_eq!(missed("* * * * * *", TimeDelta::seconds(9)), 9);
        assert_eq!(missed("* * * * * *", TimeDelta::days(365)), 365 * 86_400);
        assert_eq!(missed("*/5 * * * * *", TimeDelta::days(10)), 10 * 86_400 / 5);
        assert_eq!(missed("0 0 6 * * *", TimeDelta::days(50)), 50);
        assert_eq!(missed("*/5 * * * *", TimeDelta::hours(1)), 12, "five fields");
        // Working hours: the mean of the counted ticks is near.
        let working_hours = missed("0 * 8-17 * * *", TimeDelta::days(30));
        assert!((17_000..45_000).contains(&working_hours), "{working_hours}");
    }
}
