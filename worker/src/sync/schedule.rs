//! The schedules: one ticker makes a job of every connector that is due. Any number of workers may tick; a row lock
//! gives each tick to one of them. Ticks that were missed become one, and are counted.

use chrono::{DateTime, Utc};
use shared::connector::parse_schedule;
use shared::ids::{ConnectorId, SpaceId};
use sqlx::PgPool;
use uuid::Uuid;

const BATCH: i64 = 1_000;
const MISSED_MAX: usize = 10_000;

#[derive(sqlx::FromRow)]
struct Due {
    connector_id: ConnectorId,
    space_id: SpaceId,
    next_due_at: DateTime<Utc>,
    schedule: Option<String>,
    /// Whether a scheduled sync of it still waits or runs.
    busy: bool,
    now: DateTime<Utc>,
}

/// Makes jobs of all connectors that are due; tells how many.
///
/// # Errors
/// When PostgreSQL is away; nothing was made then.
pub async fn tick(pool: &PgPool) -> Result<usize, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let due: Vec<Due> = sqlx::query_as(
        "select state.connector_id, c.space_id, state.next_due_at, c.config->>'schedule' as schedule, now() as now,
             exists (select from syncs s where s.connector_id = c.id and s.status in ('queued', 'running')
                     and s.trigger = 'schedule') as busy
         from connector_state state join connectors c on c.id = state.connector_id
         where state.next_due_at <= now() and state.credentials_refused_at is null
           and (state.retry_at is null or state.retry_at <= now())
           and c.is_active and c.deleted_at is null
         order by state.next_due_at limit $1
         for update of state skip locked",
    )
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    let mut made = 0;
    for due in &due {
        let (next, passed) = next_tick(due);
        let missed = passed + usize::from(due.busy);
        sqlx::query(
            "update connector_state set next_due_at = $2, missed_ticks = missed_ticks + $3 where connector_id = $1",
        )
        .bind(due.connector_id)
        .bind(next)
        .bind(i64::try_from(missed).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        metrics::counter!("orchestration_ticks_missed_total").increment(missed as u64);
        if !due.busy {
            sqlx::query(
                "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at, tick_at)
                 values ($1, $2, $3, 'queued', 'schedule', now(), now(), $4) on conflict do nothing",
            )
            .bind(Uuid::now_v7())
            .bind(due.space_id)
            .bind(due.connector_id)
            .bind(due.next_due_at)
            .execute(&mut *tx)
            .await?;
            made += 1;
        }
    }
    tx.commit().await?;
    Ok(made)
}

/// When a connector is due next, and how many ticks have passed unseen before now.
fn next_tick(due: &Due) -> (Option<DateTime<Utc>>, usize) {
    let Some(cron) = due.schedule.as_deref().and_then(|line| parse_schedule(line).ok()) else {
        return (None, 0);
    };
    let next = cron.find_next_occurrence(&due.now, false).ok();
    let following = |tick: &DateTime<Utc>| cron.find_next_occurrence(tick, false).ok();
    let passed = std::iter::successors(following(&due.next_due_at), following)
        .take_while(|tick| *tick <= due.now)
        .take(MISSED_MAX)
        .count();
    (next, passed)
}

/// Makes jobs for runs that were triggered here and have not ended: their changes show within seconds, without waiting
/// for the schedule. The longer a run takes the less often it is asked for, at every tenth of its age.
///
/// # Errors
/// When PostgreSQL is away; nothing was made then.
pub async fn follow(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let made = sqlx::query(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at)
         select gen_random_uuid(), c.space_id, c.id, 'queued', 'trigger', now(), now()
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null and state.credentials_refused_at is null
           and (state.retry_at is null or state.retry_at <= now())
           and not exists (select from syncs s where s.connector_id = c.id and s.status in ('queued', 'running'))
           and exists (
               select from runs r where r.connector_id = c.id and r.status in ('queued', 'running', 'unknown')
                 and r.deleted_at is null and r.triggered_by_id is not null
                 and r.ordered_at > now() - interval '1 day'
                 and coalesce(state.confirmed_at, '-infinity')
                     < now() - greatest(interval '2 seconds', (now() - r.ordered_at) / 10))",
    )
    .execute(pool)
    .await?;
    Ok(made.rows_affected())
}
