//! Commands to trigger a run: written down before anything is sent, answered once.

use contract::events::{Observed, RunObserved};
use contract::ids::{ConnectorId, PipelineId, RunId, SpaceId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::outbox;
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// How long an `Idempotency-Key` is honoured.
const HONOURED: &str = "24 hours";
/// How long one process may be at a command before another takes it up.
const ATTEMPT_SECONDS: f64 = 100.0;

/// A pipeline as far as triggering it goes.
#[derive(Debug, FromRow)]
pub struct Triggerable {
    pub connector_id: ConnectorId,
    pub connector_type: String,
    pub external_id: String,
    pub is_active: bool,
}

/// What of a pipeline of the space a trigger needs to know.
///
/// # Errors
/// When the database is away.
pub async fn triggerable(
    db: &PgPool,
    space: SpaceId,
    pipeline: PipelineId,
) -> sqlx::Result<Option<Triggerable>> {
    sqlx::query_as(
        "select p.connector_id, c.connector_type, p.external_id,
             p.is_active and c.deleted_at is null as is_active
         from pipelines p join connectors c on c.id = p.connector_id
         where p.id = $1 and p.space_id = $2",
    )
    .bind(pipeline)
    .bind(space)
    .fetch_optional(db)
    .await
}

/// A command that is to be written down.
#[derive(Debug)]
pub struct NewCommand<'a> {
    pub space: SpaceId,
    pub connector: ConnectorId,
    pub pipeline: PipelineId,
    pub pipeline_external_id: &'a str,
    pub user: UserId,
    pub idempotency_key: Option<&'a str>,
    /// Of everything that was asked.
    pub sha256: [u8; 32],
    /// The caller's own choice of an id for the run.
    pub run_external_id: Option<&'a str>,
}

/// A command that is this process's to carry out.
#[derive(Clone, Debug)]
pub struct Command {
    pub id: Uuid,
    pub run_external_id: String,
    /// Whether it may have reached the provider before.
    pub sent: bool,
}

/// What has become of a command.
#[derive(Debug)]
pub enum Claim {
    Mine(Command),
    /// Answered already, with this code and body.
    Answered(u16, Box<RawValue>),
    /// Another request is at it.
    Busy,
    /// The key was used for something else.
    OtherCommand,
}

#[derive(FromRow)]
struct Known {
    id: Uuid,
    run_external_id: String,
    command_sha256: Vec<u8>,
    busy: bool,
    sent: bool,
    answer_status: Option<i32>,
    answer: Option<Json<Box<RawValue>>>,
}

const KNOWN: &str =
    "select id, run_external_id, command_sha256, attempt_until > now() as busy, sent_at is not null as sent,
        answer_status, answer
    from triggers where pipeline_id = $1 and user_id = $2 and idempotency_key = $3
      and created_at > now() - $4::interval for update";

/// What has become of this command so far, if it was written down; nothing is claimed.
///
/// # Errors
/// When the database is away.
pub async fn so_far(db: &PgPool, new: &NewCommand<'_>) -> sqlx::Result<Option<Claim>> {
    let mut tx = db.begin().await?;
    let known = known(&mut tx, new).await?;
    Ok(known.map(|known| known.claim(new)))
}

/// Writes a command down, or takes up the one that its key names.
///
/// # Errors
/// When the database is away.
pub async fn claim(db: &PgPool, new: &NewCommand<'_>) -> sqlx::Result<Claim> {
    let mut tx = db.begin().await?;
    let claim = match insert(&mut tx, new).await? {
        Some(command) => Claim::Mine(command),
        None => take_up(&mut tx, new).await?,
    };
    tx.commit().await?;
    Ok(claim)
}

async fn take_up(db: &mut PgConnection, new: &NewCommand<'_>) -> sqlx::Result<Claim> {
    let Some(known) = known(db, new).await? else {
        // It went away between the two statements; the next try makes it.
        return Ok(Claim::Busy);
    };
    let claim = known.claim(new);
    if let Claim::Mine(command) = &claim {
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

async fn known(db: &mut PgConnection, new: &NewCommand<'_>) -> sqlx::Result<Option<Known>> {
    sqlx::query_as(KNOWN)
        .bind(new.pipeline)
        .bind(new.user)
        .bind(new.idempotency_key)
        .bind(HONOURED)
        .fetch_optional(db)
        .await
}

impl Known {
    fn claim(self, new: &NewCommand<'_>) -> Claim {
        let status = self.answer_status.and_then(|status| u16::try_from(status).ok());
        match status.zip(self.answer) {
            _ if self.command_sha256 != new.sha256 => Claim::OtherCommand,
            Some((status, answer)) => Claim::Answered(status, answer.0),
            None if self.busy => Claim::Busy,
            None => {
                Claim::Mine(Command { id: self.id, run_external_id: self.run_external_id, sent: self.sent })
            }
        }
    }
}

async fn insert(db: &mut PgConnection, new: &NewCommand<'_>) -> sqlx::Result<Option<Command>> {
    sqlx::query(
        "update triggers set idempotency_key = null
         where pipeline_id = $1 and user_id = $2 and idempotency_key = $3 and created_at <= now() - $4::interval",
    )
    .bind(new.pipeline)
    .bind(new.user)
    .bind(new.idempotency_key)
    .bind(HONOURED)
    .execute(&mut *db)
    .await?;
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
    let act = AuditEvent::new(Actor::User(new.user), Action::PipelineTriggered, new.pipeline, details);
    audit::record(db, new.space, &act).await?;
    Ok(Some(Command { id, run_external_id, sent: false }))
}

/// Keeps the answer of a command for those who ask again.
///
/// # Errors
/// When the database is away.
pub async fn answer(db: &PgPool, command: Uuid, status: u16, body: &RawValue) -> sqlx::Result<()> {
    sqlx::query("update triggers set answer_status = $2, answer = $3, attempt_until = now() where id = $1")
        .bind(command)
        .bind(i32::from(status))
        .bind(Json(body))
        .execute(db)
        .await
        .map(drop)
}

/// Writes down that a command is about to be sent.
///
/// # Errors
/// When the database is away.
pub async fn note_sent(db: &PgPool, command: Uuid) -> sqlx::Result<()> {
    sqlx::query("update triggers set sent_at = now() where id = $1").bind(command).execute(db).await.map(drop)
}

/// Lets the next request take a command up; one of which it is known that nothing came counts as never sent.
///
/// # Errors
/// When the database is away.
pub async fn release(db: &PgPool, command: Uuid, nothing_came: bool) -> sqlx::Result<()> {
    sqlx::query(
        "update triggers set attempt_until = now(), sent_at = case when not $2 then sent_at end
         where id = $1 and answer_status is null",
    )
    .bind(command)
    .bind(nothing_came)
    .execute(db)
    .await
    .map(drop)
}

/// Makes the run of a command readable at once, and tells everybody else of it, in one transaction. What the worker has
/// seen of it later stays.
///
/// # Errors
/// When the database is away, or the command does not wait for its run.
pub async fn record(db: &PgPool, space: SpaceId, command: Uuid, run: &RunObserved) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    // The only thing that the API may do to the read model: its role cannot write there.
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
