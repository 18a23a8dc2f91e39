//! The schedules: one ticker makes a job of every connector that is due. Any number of workers may tick; a row lock
//! gives each tick to one of them. Ticks that were missed become one, and are counted.

use chrono::{DateTime, SubsecRound, Utc};
use contract::ids::{ConnectorId, SpaceId};
use provider::connector::parse_schedule;
use sqlx::{PgConnection, PgPool};
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
    let (made, missed) = note(&mut tx, &due).await?;
    tx.commit().await?;
    metrics::counter!("orchestration_ticks_missed_total").increment(missed);
    Ok(made)
}

/// Writes down when each connector is due next and, unless a sync of it is under way already, the job.
async fn note(db: &mut PgConnection, due: &[Due]) -> Result<(usize, u64), sqlx::Error> {
    let (mut connectors, mut nexts, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ids, mut spaces, mut idle, mut ticks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for due in due {
        let (next, passed) = next_tick(due);
        connectors.push(due.connector_id);
        nexts.push(next);
        missed.push(i64::try_from(passed + usize::from(due.busy)).unwrap_or(i64::MAX));
        if !due.busy {
            ids.push(Uuid::now_v7());
            spaces.push(due.space_id);
            idle.push(due.connector_id);
            ticks.push(due.next_due_at);
        }
    }
    sqlx::query(
        "update connector_state state set next_due_at = due.next, missed_ticks = missed_ticks + due.missed
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as due(connector_id, next, missed)
         where state.connector_id = due.connector_id",
    )
    .bind(connectors)
    .bind(nexts)
    .bind(&missed)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at, tick_at)
         select id, space_id, connector_id, 'queued', 'schedule', now(), now(), tick_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])
             as made(id, space_id, connector_id, tick_at)
         on conflict do nothing",
    )
    .bind(&ids)
    .bind(spaces)
    .bind(idle)
    .bind(ticks)
    .execute(&mut *db)
    .await?;
    Ok((ids.len(), missed.iter().sum::<i64>().unsigned_abs()))
}

/// When a connector is due next, and how many ticks have passed unseen before now.
fn next_tick(due: &Due) -> (Option<DateTime<Utc>>, usize) {
    let Some(cron) = due.schedule.as_deref().and_then(|line| parse_schedule(line).ok()) else {
        return (None, 0);
    };
    // A fraction of a second would be carried into every tick to come.
    let following = |tick: &DateTime<Utc>| cron.find_next_occurrence(&tick.trunc_subsecs(0), false).ok();
    let next = following(&due.now);
    let passed = std::iter::successors(following(&due.next_due_at), following)
        .take_while(|tick| *tick <= due.now)
        .take(MISSED_MAX)
        .count();
    (next, passed)
}

/// Makes jobs for runs that were triggered here and have not ended: their changes show within seconds, without waiting
/// for the schedule. The longer ago it was triggered the less often it is asked for, at every tenth of that time.
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
               select from runs r join triggers t on t.run_id = r.id
               where r.connector_id = c.id and r.status in ('queued', 'running', 'unknown')
                 and r.deleted_at is null and r.triggered_by_id is not null
                 and t.created_at > now() - interval '1 day'
                 and coalesce(state.confirmed_at, '-infinity')
                     < now() - greatest(interval '2 seconds', (now() - greatest(t.created_at, t.sent_at)) / 10))",
    )
    .execute(pool)
    .await?;
    Ok(made.rows_affected())
}
