//! Triggering a run. What is done goes on when the client leaves, and is answered to whoever asks again with the same
//! key.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::connector::{AIRFLOW, ConnectorConfig};
use shared::events::Source;
use shared::ids::{PipelineId, RunId};
use shared::provider::{self, TriggerCommand};
use shared::trace;
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::ToSchema;

use super::runs;
use crate::access::{Member, SpaceEditor};
use crate::error::{ApiError, ApiResult};
use crate::input::{Body, Fault, Fields, Id, Wrong, body};
use crate::state::App;
use crate::store::connectors;
use crate::store::runs::RunDetail;
use crate::store::triggers::{self, Claim, Command, NewCommand, Triggerable};
use crate::trigger::{Outcome, Sending};

const LONGEST_RUN_ID: usize = 250;
/// What the provider keeps of a note, less what is said there of who triggered it.
const LONGEST_NOTE: usize = 700;
const LONGEST_KEY: usize = 255;
/// How often it is asked whether another request has come to an end with the same command.
const POLL: Duration = Duration::from_millis(200);

/// What is asked of a run.
#[derive(Debug, ToSchema)]
pub struct TriggerWish {
    /// The parameters to give it
    #[schema(value_type = Object, required = false)]
    conf: Value,
    logical_date: Option<DateTime<Utc>>,
    /// The provider's id for it; one is made when it is left out
    #[schema(min_length = 1, max_length = 250, pattern = "^[A-Za-z0-9_.~:+-]+$")]
    run_id: Option<String>,
    #[schema(max_length = 700)]
    note: Option<String>,
}

/// Trigger a run of a pipeline.
///
/// With an `Idempotency-Key`, asking again makes no second run.
#[utoipa::path(post, path = "/pipelines/{pipeline_id}/trigger", request_body = Option<TriggerWish>, params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; honoured for 24 hours")), responses((status = 201, description = "The run", body = RunDetail), (status = 409, description = "The pipeline is no longer active, or the provider has such a run"), (status = 502, description = "Nothing could be sent to the provider"), (status = 504, description = "Sent, and the outcome is not known; asking again with the same key is safe"), (status = "default", description = "The provider refused: its own code")))]
pub async fn trigger(
    space: SpaceEditor,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let deadline = Instant::now() + app.time_out.mul_f64(0.9);
    let key = idempotency_key(&headers)?;
    let wish = read(body.optional_fields()?)?;
    let found = triggers::triggerable(&app.db, space.space, pipeline).await?;
    let target = found.ok_or(ApiError::NotFound("Pipeline"))?;
    if target.connector_type != AIRFLOW {
        return Err(ApiError::BadRequest("Only Airflow pipelines can be triggered"));
    }
    let new = NewCommand {
        space: space.space,
        connector: target.connector_id,
        pipeline,
        pipeline_external_id: &target.external_id,
        user: space.user.id,
        idempotency_key: key,
        sha256: wish.digest(),
        run_external_id: wish.run_id.as_deref(),
    };
    if key.is_some()
        && let Some(answered) = triggers::answered(&app.db, &new).await?
    {
        return repeated(answered);
    }
    if !target.is_active {
        return Err(ApiError::Conflict("The pipeline is no longer active"));
    }
    loop {
        match triggers::claim(&app.db, &new).await? {
            Claim::Mine(command) => {
                return carry_out(app, (*space).clone(), target, command, &wish, deadline).await;
            }
            Claim::Busy if Instant::now() + POLL < deadline => sleep(POLL).await,
            other => return repeated(other),
        }
    }
}

/// The answer to a command that is not this request's to carry out.
fn repeated(claim: Claim) -> ApiResult<Response> {
    match claim {
        Claim::Answered(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::CREATED);
            Ok((status, Json(body)).into_response())
        }
        Claim::OtherCommand => {
            let message = "the Idempotency-Key was used with another body; choose a new key";
            Err(ApiError::Invalid(vec![Fault::body(Wrong::new("value_error.idempotency_key", message))]))
        }
        Claim::Mine(_) | Claim::Busy => Err(ApiError::OutcomeUnknown),
    }
}

/// Does it in a task of its own, which ends what it began even if the client is gone.
async fn carry_out(
    app: App,
    space: Member,
    target: Triggerable,
    command: Command,
    wish: &TriggerWish,
    deadline: Instant,
) -> ApiResult<Response> {
    let id = command.id;
    let sending = match prepare(&app, &space, target, command, wish).await {
        Ok(sending) => sending,
        Err(error) => {
            triggers::release(&app.db, id).await?;
            return Err(error);
        }
    };
    let task = app.tasks.spawn(trace::follow(finish(app.clone(), sending)));
    match timeout_at(deadline, task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ApiError::Internal),
        Err(_) => Err(ApiError::OutcomeUnknown),
    }
}

async fn prepare(
    app: &App,
    space: &Member,
    target: Triggerable,
    command: Command,
    wish: &TriggerWish,
) -> ApiResult<Sending> {
    let connector = target.connector_id;
    let opening = connectors::opening(&app.db, space.space, connector).await?;
    let opening = opening.ok_or(ApiError::Conflict("The pipeline is no longer active"))?;
    let credentials = connectors::unseal(&app.keyring, connector, opening.credentials_sealed.as_deref())?;
    let config: ConnectorConfig = serde_json::from_value(opening.config)?;
    let source = Source { space: space.slug.clone(), connector_id: connector };
    let provider = provider::open(&config, &credentials, source, app.network)?;
    let wish = TriggerCommand {
        run: command.run_external_id.clone(),
        logical_date: wish.logical_date,
        conf: wish.conf.clone(),
        note: Some(signed(wish.note.as_deref(), space, &command)),
    };
    let (db, user) = (app.db.clone(), space.user.clone());
    Ok(Sending { db, space: space.space, provider, user, pipeline: target.external_id, command, wish })
}

/// Says in the provider, too, who it was and from where.
fn signed(note: Option<&str>, space: &Member, command: &Command) -> String {
    let name: String = space.user.name.chars().take(100).collect();
    let signature =
        format!("Triggered by {name} through Orchestration, space {} (command {})", space.slug, command.id);
    match note.map(str::trim_end).filter(|note| !note.is_empty()) {
        Some(note) => format!("{note}\n\n{signature}"),
        None => signature,
    }
}

async fn finish(app: App, sending: Sending) -> ApiResult<Response> {
    let command = sending.command.id;
    let answer = match sending.send().await {
        Ok(outcome) => answer(&app, &sending, outcome).await,
        Err(error) => Err(error.into()),
    };
    if answer.is_err() {
        triggers::release(&app.db, command).await?;
    }
    answer
}

async fn answer(app: &App, sending: &Sending, outcome: Outcome) -> ApiResult<Response> {
    match outcome {
        Outcome::Made(run) => made(app, sending, run.id).await,
        Outcome::Refused { status, message } => {
            let refusal = ApiError::Refused { status, message };
            // These may be answered differently without anyone asking for something else.
            if !matches!(status, 401 | 403 | 408 | 429 | 500..) {
                let body = RawValue::from_string(refusal.body().to_string())?;
                triggers::answer(&app.db, sending.command.id, status, &body).await?;
            }
            Err(refusal)
        }
        Outcome::NotSent(why) => Err(ApiError::NotSent(why)),
        Outcome::Unknown => Err(ApiError::OutcomeUnknown),
    }
}

async fn made(app: &App, sending: &Sending, run: RunId) -> ApiResult<Response> {
    let shown = runs::find(app, sending.space, run, false).await?;
    let body = serde_json::value::to_raw_value(&shown)?;
    triggers::answer(&app.db, sending.command.id, StatusCode::CREATED.as_u16(), &body).await?;
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    key.map(Some).ok_or(ApiError::BadRequest("The Idempotency-Key must be 1 to 255 visible ASCII characters"))
}

fn read(mut fields: Fields) -> ApiResult<TriggerWish> {
    let wish = TriggerWish {
        conf: Value::Object(fields.optional("conf", body::storable_object).unwrap_or_default()),
        logical_date: fields.optional("logical_date", body::time),
        run_id: fields.optional("run_id", run_id),
        note: fields.optional("note", body::text_of(0..=LONGEST_NOTE)),
    };
    fields.finish()?;
    Ok(wish)
}

/// What a provider takes as a run's id without stumbling over it.
fn run_id(value: Value) -> Result<String, Wrong> {
    let id = body::text_of(1..=LONGEST_RUN_ID)(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.~:+-".contains(c);
    match id.chars().all(plain) {
        true => Ok(id),
        false => {
            Err(Wrong::new("value_error.str.regex", "string does not match regex \"^[A-Za-z0-9_.~:+-]+$\""))
        }
    }
}

impl TriggerWish {
    /// The same for bodies that ask the same.
    fn digest(&self) -> [u8; 32] {
        let asked = json!([self.conf, self.logical_date, self.run_id, self.note]);
        Sha256::digest(asked.to_string()).into()
    }
}
