//! Jobs: what waits to be synced, who has it, and how it ended. A connector is leased to one runner at a time; each
//! lease has a higher epoch than the one before, and whoever lost it can move nothing any more.

use chrono::{DateTime, Utc};
use shared::connector::{ConnectorConfig, Secrets};
use shared::events::{Source, SyncReport};
use shared::ids::{ConnectorId, SyncId};
use shared::provider::ProviderError;
use shared::secrets::Keyring;
use shared::syncs::announce;
use shared::trace::Trace;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::{Polled, SyncError, Synced};

/// How long a lease holds without being renewed.
pub const LEASE_SECONDS: f64 = 15.0;
/// How often a sync is begun before its request is given up.
const ATTEMPTS: i32 = 5;
/// After so many failures in a row, schedules rest: a second first, then twice as long each time, up to a minute.
const TOLERATED_FAILURES: i32 = 3;
const REST_MOST_SECONDS: f64 = 60.0;

/// A leased connector and the syncs that one pass over it will serve.
#[derive(Clone, Debug)]
pub struct Job {
    pub connector_id: ConnectorId,
    pub space: String,
    pub config: ConnectorConfig,
    pub secrets: Secrets,
    pub cursor_at: Option<DateTime<Utc>>,
    /// When the last complete sync began, by our clock.
    pub confirmed_at: Option<DateTime<Utc>>,
    pub epoch: i64,
    pub syncs: Vec<SyncId>,
    /// When the latest of the full syncs among them was asked for: every history must have been read since.
    pub full_since: Option<DateTime<Utc>>,
    /// Whether one of the full ones may pass the brake.
    pub accept_mass_deletion: bool,
    /// What led to the first of them that somebody asked for.
    pub trace: Option<Trace>,
}

impl Job {
    /// Whose events it will publish.
    pub fn source(&self) -> Source {
        Source { space: self.space.clone(), connector_id: self.connector_id }
    }
}

/// A lease that was taken, before the connector's settings were read.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Lease {
    pub connector_id: ConnectorId,
    #[sqlx(rename = "lease_epoch")]
    pub epoch: i64,
}

/// Takes the connector whose request waits longest. A sync that a stopped worker left behind counts as waiting, and so
/// does a request that has not come back from Kafka within a minute: it is written down here, so it is never lost.
pub async fn lease(
    db: &mut PgConnection,
    owner: &str,
    only: Option<ConnectorId>,
) -> Result<Option<Lease>, sqlx::Error> {
    sqlx::query_as(
        "update connector_state set lease_owner = $1, lease_epoch = lease_epoch + 1,
             lease_until = clock_timestamp() + make_interval(secs => $2)
         where connector_id = (
             select state.connector_id from syncs s
             join connector_state state using (connector_id)
             where s.status in ('queued', 'running')
               and (s.accepted_at is not null or s.requested_at < now() - interval '1 minute')
               and (state.lease_until is null or state.lease_until < now())
               and ($3::uuid is null or state.connector_id = $3)
             order by s.requested_at limit 1
             for update of state skip locked)
         returning connector_id, lease_epoch",
    )
    .bind(owner)
    .bind(LEASE_SECONDS)
    .bind(only)
    .fetch_optional(db)
    .await
}

#[derive(sqlx::FromRow)]
struct Taken {
    id: SyncId,
    full: bool,
    accept_mass_deletion: bool,
    requested_at: DateTime<Utc>,
    attempts: i32,
    traceparent: Option<String>,
    /// How long after its tick it begins, if a schedule made it and this is its first beginning.
    late_seconds: Option<f64>,
}

/// Starts every sync that waits for the leased connector; none when all had been begun too often.
pub async fn take(
    db: &mut PgConnection,
    lease: Lease,
    keyring: &Keyring,
) -> Result<Option<Result<Job, SyncError>>, sqlx::Error> {
    let taken: Vec<Taken> = sqlx::query_as(
        "update syncs set status = 'running', started_at = now(), attempts = attempts + 1,
             accepted_at = coalesce(accepted_at, now()), version = nextval('observation_version')
         where connector_id = $1 and status in ('queued', 'running')
           and (accepted_at is not null or requested_at < now() - interval '1 minute')
         returning id, \"full\", accept_mass_deletion, requested_at, attempts, traceparent,
             case when attempts = 1 then extract(epoch from clock_timestamp() - tick_at)::float8 end as late_seconds",
    )
    .bind(lease.connector_id)
    .fetch_all(&mut *db)
    .await?;
    let (taken, worn_out): (Vec<_>, Vec<_>) = taken.into_iter().partition(|sync| sync.attempts <= ATTEMPTS);
    give_up(db, &ids(&worn_out)).await?;
    announce_asked(db, &ids(&taken)).await?;
    if taken.is_empty() {
        release(db, lease).await?;
        return Ok(None);
    }
    for late in taken.iter().filter_map(|sync| sync.late_seconds) {
        metrics::histogram!("orchestration_schedule_lateness_seconds").record(late);
    }
    let full = || taken.iter().filter(|sync| sync.full);
    let settings = settings(db, lease.connector_id).await?;
    Ok(Some(settings.open(lease.connector_id, keyring).map(|(config, secrets)| Job {
        connector_id: lease.connector_id,
        space: settings.space,
        config,
        secrets,
        cursor_at: settings.cursor_at,
        confirmed_at: settings.confirmed_at,
        epoch: lease.epoch,
        syncs: ids(&taken),
        full_since: full().map(|sync| sync.requested_at).max(),
        accept_mass_deletion: full().any(|sync| sync.accept_mass_deletion),
        trace: taken.iter().find_map(|sync| sync.traceparent.as_deref()?.parse().ok()),
    })))
}

fn ids(taken: &[Taken]) -> Vec<SyncId> {
    taken.iter().map(|sync| sync.id).collect()
}

#[derive(sqlx::FromRow)]
struct Settings {
    space: String,
    connector_type: String,
    config: Json<serde_json::Value>,
    credentials_sealed: Option<Vec<u8>>,
    cursor_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
}

async fn settings(db: &mut PgConnection, connector: ConnectorId) -> Result<Settings, sqlx::Error> {
    sqlx::query_as(
        "select spaces.slug as space, c.connector_type, c.config, c.credentials_sealed, state.cursor_at,
             state.confirmed_at
         from connectors c join spaces on spaces.id = c.space_id
         join connector_state state on state.connector_id = c.id
         where c.id = $1",
    )
    .bind(connector)
    .fetch_one(db)
    .await
}

impl Settings {
    fn open(
        &self,
        connector: ConnectorId,
        keyring: &Keyring,
    ) -> Result<(ConnectorConfig, Secrets), SyncError> {
        if self.connector_type != shared::connector::AIRFLOW {
            return Err(SyncError::Settings("only Airflow connectors can be synced".to_owned()));
        }
        let config = serde_json::from_value(self.config.0.clone())
            .map_err(|error| SyncError::Settings(error.to_string()))?;
        let Some(sealed) = &self.credentials_sealed else { return Ok((config, Secrets::default())) };
        let opened = keyring.open(&shared::connector::credentials_place(connector), sealed)?;
        let secrets = serde_json::from_slice(&opened).map_err(|_| {
            SyncError::Settings("the stored credentials are not readable; enter them again".to_owned())
        })?;
        Ok((config, secrets))
    }
}

async fn give_up(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    if syncs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update syncs set status = 'failed', finished_at = now(), version = nextval('observation_version'),
             error = 'The worker stopped in the middle of this sync five times; look at its log and memory.'
         where id = any($1)",
    )
    .bind(syncs)
    .execute(&mut *db)
    .await?;
    announce(db, syncs).await
}

/// Tells of syncs that somebody asked for. Any other is told of when it ends, if it found anything.
async fn announce_asked(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    let asked: Vec<SyncId> =
        sqlx::query_scalar("select id from syncs where id = any($1) and trigger = 'manual'")
            .bind(syncs)
            .fetch_all(&mut *db)
            .await?;
    announce(db, &asked).await
}

async fn release(db: &mut PgConnection, lease: Lease) -> Result<(), sqlx::Error> {
    sqlx::query("update connector_state set lease_until = null where connector_id = $1 and lease_epoch = $2")
        .bind(lease.connector_id)
        .bind(lease.epoch)
        .execute(db)
        .await?;
    Ok(())
}

/// Holds the lease for longer and shows the report so far; false when the lease is lost.
pub async fn renew(pool: &PgPool, job: &Job, report: &SyncReport) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "update connector_state set lease_until = clock_timestamp() + make_interval(secs => $3)
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(LEASE_SECONDS)
    .execute(pool)
    .await?;
    sqlx::query("update syncs set report = $2 where id = any($1) and status = 'running'")
        .bind(&job.syncs)
        .bind(Json(report))
        .execute(pool)
        .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Moves the cursor of a sync that goes on: what changed before it is published, or will be read as history.
pub async fn move_cursor(pool: &PgPool, job: &Job, cursor: DateTime<Utc>) -> Result<(), SyncError> {
    let set =
        sqlx::query("update connector_state set cursor_at = $3 where connector_id = $1 and lease_epoch = $2")
            .bind(job.connector_id)
            .bind(job.epoch)
            .bind(cursor)
            .execute(pool)
            .await?;
    if set.rows_affected() == 1 { Ok(()) } else { Err(SyncError::LeaseLost) }
}

/// Notes a complete poll in the middle of a sync that reads histories, and ends the syncs that asked for no more than
/// this: a long one makes nobody wait.
pub async fn serve(pool: &PgPool, job: &Job, polled: &Polled, report: &SyncReport) -> Result<(), SyncError> {
    let mut tx = pool.begin().await?;
    let moved = sqlx::query(
        "update connector_state set cursor_at = $3, confirmed_at = $4 where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(polled.clock)
    .bind(polled.began)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(SyncError::LeaseLost);
    }
    let served: Vec<SyncId> = sqlx::query_scalar(
        "update syncs set status = 'running', started_at = $2, attempts = attempts + 1
         where connector_id = $1 and status = 'queued' and not \"full\"
           and accepted_at is not null and requested_at <= $2
         returning id",
    )
    .bind(job.connector_id)
    .bind(polled.began)
    .fetch_all(&mut *tx)
    .await?;
    end(&mut tx, &served, None, report).await?;
    Ok(tx.commit().await?)
}

/// Notes that a pipeline's history has been read through.
pub async fn note_crawl(
    pool: &PgPool,
    job: &Job,
    pipeline: &str,
    began: DateTime<Utc>,
) -> Result<(), SyncError> {
    let noted = sqlx::query(
        "insert into pipeline_crawls (connector_id, external_id, crawled_at, history_days)
         select connector_id, $3, $4, $5 from connector_state where connector_id = $1 and lease_epoch = $2
         on conflict (connector_id, external_id) do update
             set crawled_at = excluded.crawled_at, history_days = excluded.history_days",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(pipeline)
    .bind(began)
    .bind(i32::from(job.config.history_days))
    .execute(pool)
    .await?;
    if noted.rows_affected() == 1 { Ok(()) } else { Err(SyncError::LeaseLost) }
}

/// Lets the histories of these pipelines be read anew.
pub async fn forget_crawls(pool: &PgPool, job: &Job, pipelines: &[&String]) -> Result<(), SyncError> {
    sqlx::query(
        "update pipeline_crawls set crawled_at = null where connector_id = $1 and external_id = any($2)",
    )
    .bind(job.connector_id)
    .bind(pipelines)
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends a sync that read everything: moves the cursor, and tells.
pub async fn succeed(pool: &PgPool, job: &Job, synced: &Synced) -> Result<(), SyncError> {
    let mut tx = pool.begin().await?;
    let moved = sqlx::query(
        "update connector_state set cursor_at = $3, confirmed_at = $4, last_success_at = clock_timestamp(),
             credentials_refused_at = null, failures = 0, retry_at = null, lease_until = null
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(job.connector_id)
    .bind(job.epoch)
    .bind(synced.polled.clock)
    .bind(synced.polled.began)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(SyncError::LeaseLost);
    }
    end(&mut tx, &job.syncs, None, &synced.report).await?;
    Ok(tx.commit().await?)
}

/// Ends a sync that did not: the cursor stays, and the reason is told. One whose lease is lost says nothing: whoever
/// holds the connector now goes on with its requests. One that was stopped goes back to the queue.
pub async fn fail(
    pool: &PgPool,
    lease: Lease,
    syncs: &[SyncId],
    error: &SyncError,
    report: &SyncReport,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let refused = matches!(error, SyncError::Provider(ProviderError::CredentialsRefused { .. }));
    let held = sqlx::query(
        "update connector_state set lease_until = null,
             credentials_refused_at = case when $3 then clock_timestamp() else credentials_refused_at end,
             failures = failures + $4,
             retry_at = clock_timestamp() + make_interval(secs => greatest($5, least($6, 2 ^ least(failures - $7, 16))))
         where connector_id = $1 and lease_epoch = $2",
    )
    .bind(lease.connector_id)
    .bind(lease.epoch)
    .bind(refused)
    .bind(i32::from(!matches!(error, SyncError::Stopped)))
    .bind(error.rest().as_secs_f64())
    .bind(REST_MOST_SECONDS)
    .bind(TOLERATED_FAILURES)
    .execute(&mut *tx)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(());
    }
    if matches!(error, SyncError::Stopped) {
        requeue(&mut tx, syncs).await?;
    } else {
        end(&mut tx, syncs, Some(&error.to_string()), report).await?;
    }
    tx.commit().await
}

async fn requeue(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update syncs set status = 'queued', started_at = null, attempts = attempts - 1,
             version = nextval('observation_version') where id = any($1)",
    )
    .bind(syncs)
    .execute(&mut *db)
    .await?;
    announce_asked(db, syncs).await
}

/// Writes the end of syncs, and tells of those that are news: asked for, fruitful, failed, or healed.
async fn end(
    db: &mut PgConnection,
    syncs: &[SyncId],
    error: Option<&str>,
    report: &SyncReport,
) -> Result<(), sqlx::Error> {
    let news: Vec<Option<SyncId>> = sqlx::query_scalar(
        "update syncs s set status = case when $2::text is null then 'succeeded' else 'failed' end,
             finished_at = clock_timestamp(), error = $2, report = $3, version = nextval('observation_version')
         where id = any($1) and status = 'running'
         returning case when trigger = 'manual' or $2 is not null or $4 or (
             select before.status = 'failed' from syncs before
             where before.connector_id = s.connector_id and before.status in ('succeeded', 'failed')
             order by before.requested_at desc limit 1) then id end",
    )
    .bind(syncs)
    .bind(error)
    .bind(Json(report))
    .bind(report.events_published > 0)
    .fetch_all(&mut *db)
    .await?;
    announce(db, &Vec::from_iter(news.into_iter().flatten())).await
}
