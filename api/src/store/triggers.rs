//! Trigger commands: stored before anything is sent to the provider, and answered once.

use contract::events::{Observed, RunObserved};
use contract::ids::{ConnectorId, PipelineId, RunId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::outbox;
use provider::connector::ConnectorType;
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// How long an `Idempotency-Key` identifies its command.
const IDEMPOTENCY_TTL: &str = "24 hours";
/// How long a request owns a command before another request may reclaim it.
const ATTEMPT_SECONDS: f64 = 100.0;

/// What triggering needs of a pipeline.
#[derive(Debug, FromRow)]
pub struct TriggerTarget {
    pub connector_id: ConnectorId,
    #[sqlx(try_from = "String")]
    pub connector_type: ConnectorType,
    pub external_id: String,
    pub is_active: bool,
    pub is_connector_active: bool,
}

/// Finds the trigger target for a pipeline of the space.
pub async fn find_target(
    db: &PgPool,
    space: SpaceId,
    pipeline: PipelineId,
) -> sqlx::Result<Option<TriggerTarget>> {
    sqlx::query_as(
        "select p.connector_id, c.connector_type, p.external_id,
             p.is_active and c.deleted_at is null as is_active, c.is_active as is_connector_active
         from pipelines p join connectors c on c.id = p.connector_id
         where p.id = $1 and p.space_id = $2",
    )
    .bind(pipeline)
    .bind(space)
    .fetch_optional(db)
    .await
}

/// A command to insert.
#[derive(Debug)]
pub struct NewTrigger<'a> {
    pub space: SpaceId,
    pub connector: ConnectorId,
    pub pipeline: PipelineId,
    pub pipeline_external_id: &'a str,
    pub user: UserId,
    pub idempotency_key: Option<&'a str>,
    /// The digest of the whole request.
    pub sha256: [u8; 32],
    /// The run id that the client chose, if it did.
    pub run_external_id: Option<&'a str>,
}

/// A command that this request has claimed.
#[derive(Clone, Debug)]
pub struct ClaimedTrigger {
    pub id: Uuid,
    pub run_external_id: String,
    /// Whether an earlier attempt may have reached the provider.
    pub sent: bool,
}

/// The outcome of claiming a command.
#[derive(Debug)]
pub enum TriggerClaim {
    Claimed(ClaimedTrigger),
    /// The command is answered, with this status code and body.
    Answered(u16, Box<RawValue>),
    /// Another request owns the command.
    Busy,
    /// The idempotency key belongs to a different request.
    KeyReused,
}

#[derive(FromRow)]
struct TriggerRow {
    id: Uuid,
    run_external_id: String,
    command_sha256: Vec<u8>,
    busy: bool,
    sent: bool,
    answer_status: Option<i32>,
    answer: Option<Json<Box<RawValue>>>,
}

const FIND_BY_KEY: &str =
    "select id, run_external_id, command_sha256, attempt_until > now() as busy, sent_at is not null as sent,
        answer_status, answer
    from triggers where pipeline_id = $1 and user_id = $2 and idempotency_key = $3
      and created_at > now() - $4::interval for update";

/// Finds the claim that the idempotency key would give, if its command is stored. Nothing is changed.
pub async fn find_claim(db: &PgPool, new: &NewTrigger<'_>) -> sqlx::Result<Option<TriggerClaim>> {
    let mut tx = db.begin().await?;
    let row = find_by_key(&mut tx, new).await?;
    Ok(row.map(|row| row.into_claim(new)))
}

/// Inserts a command, or reclaims the one with the same idempotency key.
pub async fn claim(db: &PgPool, new: &NewTrigger<'_>) -> sqlx::Result<TriggerClaim> {
    let mut tx = db.begin().await?;
    let claim = match insert(&mut tx, new).await? {
        Some(command) => TriggerClaim::Claimed(command),
        None => reclaim(&mut tx, new).await?,
    };
    tx.commit().await?;
    Ok(claim)
}

async fn reclaim(db: &mut PgConnection, new: &NewTrigger<'_>) -> sqlx::Result<TriggerClaim> {
    let Some(row) = find_by_key(db, new).await? else {
        // The row expired between the two statements; the next attempt inserts a new one.
        return Ok(TriggerClaim::Busy);
    };
    let claim = row.into_claim(new);
    if let TriggerClaim::Claimed(command) = &claim {
        sqlx::query(
            "update triggers set attempt_until = now() + make_interval(secs => $2), attempts = attempts + 1
             where id = $1",
        )
        .bind(command.id)
        .bind(ATTEMPT_SECONDS)
        .execute(db)
        .await?;
    }
    Ok(claim)
}

async fn find_by_key(db: &mut PgConnection, new: &NewTrigger<'_>) -> sqlx::Result<Option<TriggerRow>> {
    sqlx::query_as(FIND_BY_KEY)
        .bind(new.pipeline)
        .bind(new.user)
        .bind(new.idempotency_key)
        .bind(IDEMPOTENCY_TTL)
        .fetch_optional(db)
        .await
}

impl TriggerRow {
    fn into_claim(self, new: &NewTrigger<'_>) -> TriggerClaim {
        let status = self.answer_status.and_then(|status| u16::try_from(status).ok());
        match status.zip(self.answer) {
            _ if self.command_sha256 != new.sha256 => TriggerClaim::KeyReused,
            Some((status, answer)) => TriggerClaim::Answered(status, answer.0),
            None if self.busy => TriggerClaim::Busy,
            None => TriggerClaim::Claimed(ClaimedTrigger {
                id: self.id,
                run_external_id: self.run_external_id,
                sent: self.sent,
            }),
        }
    }
}

async fn insert(db: &mut PgConnection, new: &NewTrigger<'_>) -> sqlx::Result<Option<ClaimedTrigger>> {
    release_expired_key(db, new).await?;
    let id = Uuid::now_v7();
    let run_external_id = new.run_external_id.map_or_else(|| format!("orchestration__{id}"), str::to_owned);
    let run_id = RunId::of(new.connector, new.pipeline_external_id, &run_external_id);
    let inserted = sqlx::query(
        "insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             idempotency_key, command_sha256, attempt_until, sent_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10), null)
         on conflict (pipeline_id, user_id, idempotency_key) where idempotency_key is not null do nothing",
    )
    .bind(id)
    .bind(new.space)
    .bind(new.connector)
    .bind(new.pipeline)
    .bind(new.user)
    .bind(&run_external_id)
    .bind(run_id)
    .bind(new.idempotency_key)
    .bind(new.sha256)
    .bind(ATTEMPT_SECONDS)
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    let details = json!({ "command_id": id, "run_id": run_id, "run_external_id": run_external_id });
    let event = AuditEvent::new(Actor::User(new.user), Action::PipelineTriggered, new.pipeline, details);
    audit::insert(db, new.space, &event).await?;
    Ok(Some(ClaimedTrigger { id, run_external_id, sent: false }))
}

/// Takes the idempotency key from an expired command, so that a new command can use it.
async fn release_expired_key(db: &mut PgConnection, new: &NewTrigger<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "update triggers set idempotency_key = null
         where pipeline_id = $1 and user_id = $2 and idempotency_key = $3
           and created_at <= now() - $4::interval",
    )
    .bind(new.pipeline)
    .bind(new.user)
    .bind(new.idempotency_key)
    .bind(IDEMPOTENCY_TTL)
    .execute(db)
    .await
    .map(drop)
}

/// Stores the final response of a command, for repeated requests with its idempotency key.
pub async fn store_answer(db: &PgPool, command: Uuid, status: u16, body: &RawValue) -> sqlx::Result<()> {
    sqlx::query("update triggers set answer_status = $2, answer = $3, attempt_until = now() where id = $1")
        .bind(command)
        .bind(i32::from(status))
        .bind(Json(body))
        .execute(db)
        .await
        .map(drop)
}

/// Records that a command is about to be sent to the provider.
pub async fn mark_sent(db: &PgPool, command: Uuid) -> sqlx::Result<()> {
    sqlx::query("update triggers set sent_at = now() where id = $1").bind(command).execute(db).await.map(drop)
}

/// Gives up the claim on a command, so that the next request may reclaim it. `has_no_effect` says that the
/// provider certainly made no run; the command then counts as never sent.
pub async fn release(db: &PgPool, command: Uuid, has_no_effect: bool) -> sqlx::Result<()> {
    sqlx::query(
        "update triggers set attempt_until = now(), sent_at = case when not $2 then sent_at end
         where id = $1 and answer_status is null",
    )
    .bind(command)
    .bind(has_no_effect)
    .execute(db)
    .await
    .map(drop)
}

/// Makes the run of a command readable at once and enqueues its event, in one transaction. A newer
/// observation of the worker is never overwritten.
///
/// # Errors
/// Also when the command does not await a run.
pub async fn insert_run(db: &PgPool, space: SpaceId, command: Uuid, run: &RunObserved) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    // This function is the only write to the read model that the API's database role is granted.
    sqlx::query("select record_triggered_run($1, $2, $3, $4)")
        .bind(space)
        .bind(command)
        .bind(run.fingerprint())
        .bind(Json(run))
        .execute(&mut *tx)
        .await?;
    outbox::enqueue(&mut tx, run).await?;
    tx.commit().await
}
