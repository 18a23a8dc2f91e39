//! Triggering a run. What is done goes on when the client leaves, and is answered to whoever asks again with the same
//! key.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use contract::events::Source;
use contract::ids::{PipelineId, RunId};
use platform::trace;
use provider::connector::AIRFLOW;
use provider::{self, MAX_RUN_ID_LENGTH, TriggerCommand, is_run_id};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::{IntoParams, ToSchema};

use super::runs;
use crate::auth::{Member, SpaceEditor};
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::Begun;
use crate::http::request::{Body, Fault, Fields, Id, Wrong, body};
use crate::openapi::{JsonObject, Moment};
use crate::state::App;
use crate::store::connectors;
use crate::store::runs::RunDetail;
use crate::store::triggers::{self, Claim, Command, NewCommand, Triggerable};
use crate::triggers::outcome::{Outcome, Sending};

/// What the provider keeps of a note, less what is said there of who triggered it.
const LONGEST_NOTE: usize = 700;
const LONGEST_KEY: usize = 255;
/// How often it is asked whether another request has come to an end with the same command.
const POLL: Duration = Duration::from_millis(200);

/// What is asked of a run.
#[derive(Debug, ToSchema)]
pub struct TriggerWish {
    /// The parameters to give it
    #[schema(value_type = Option<JsonObject>)]
    conf: Value,
    #[schema(value_type = Option<Moment>, inline)]
    logical_date: Option<DateTime<Utc>>,
    /// The provider's id for it; one is made when it is left out
    #[schema(min_length = 1, max_length = 250, pattern = "^(?!\\.{1,2}$)[A-Za-z0-9_.~:+-]+$")]
    run_id: Option<String>,
    #[schema(max_length = 700)]
    note: Option<String>,
}

/// What makes asking again the same command.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Named {
    /// 1 to 255 visible characters of ASCII; honoured for 24 hours
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    key: Option<String>,
}

/// Trigger a run of a pipeline.
///
/// With an `Idempotency-Key`, asking again makes no second run.
#[utoipa::path(post, path = "/pipelines/{pipeline_id}/trigger", request_body = Option<TriggerWish>, params(Named), responses((status = 201, description = "The run", body = RunDetail), (status = 409, description = "The pipeline is no longer active, or the provider has such a run"), (status = 422, description = "The input is invalid, or the provider finds it so"), (status = 502, description = "Nothing could be sent to the provider"), (status = 504, description = "Sent, and the outcome is not known; asking again with the same key is safe"), (status = "default", description = "The provider refused: its own code")))]
pub async fn trigger(
    space: SpaceEditor,
    State(app): State<App>,
    Extension(Begun(begun)): Extension<Begun>,
    Id(pipeline): Id<PipelineId>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let deadline = begun + app.time_out.mul_f64(0.9);
    let Named { key } = Named::read(&headers)?;
    let wish = read(body.optional_fields()?)?;
    let found = triggers::triggerable(&app.db, space.space, pipeline).await?;
    let target = found.ok_or(ApiError::NotFound("Pipeline"))?;
    if target.connector_type != AIRFLOW {
        return Err(ApiError::BadRequest("Only Airflow pipelines can be triggered"));
    }
    let asked = Asked { app: app.clone(), space: (*space).clone(), pipeline, target, key, wish };
    // A task of its own ends what it began, even if the client is gone.
    let task = app.tasks.spawn(trace::propagate(asked.answer(deadline)));
    match timeout_at(deadline, task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ApiError::Internal),
        Err(_) => Err(ApiError::OutcomeUnknown),
    }
}

/// A request to trigger, read and found to make sense.
struct Asked {
    app: App,
    space: Member,
    pipeline: PipelineId,
    target: Triggerable,
    key: Option<String>,
    wish: TriggerWish,
}

impl Asked {
    /// Writes the command down and carries it out, unless its key says that this was done, or is being done, already.
    async fn answer(self, deadline: Instant) -> ApiResult<Response> {
        let db = &self.app.db;
        let new = NewCommand {
            space: self.space.space,
            connector: self.target.connector_id,
            pipeline: self.pipeline,
            pipeline_external_id: &self.target.external_id,
            user: self.space.user.id,
            idempotency_key: self.key.as_deref(),
            sha256: self.wish.digest(),
            run_external_id: self.wish.run_id.as_deref(),
        };
        let so_far = if self.key.is_some() { triggers::so_far(db, &new).await? } else { None };
        match so_far {
            Some(known @ (Claim::Answered(..) | Claim::OtherCommand)) => return repeated(known),
            // What came of it is to be found out, whatever became of the pipeline.
            Some(Claim::Busy) => {}
            Some(Claim::Mine(command)) if command.sent => {}
            Some(Claim::Mine(_)) | None if self.target.is_active => {}
            Some(Claim::Mine(_)) | None => {
                return Err(ApiError::Conflict("The pipeline is no longer active"));
            }
        }
        loop {
            match triggers::claim(db, &new).await? {
                Claim::Mine(command) => return self.carry_out(command, deadline).await,
                Claim::Busy if Instant::now() + POLL < deadline => sleep(POLL).await,
                other => return repeated(other),
            }
        }
    }

    /// Sends the command; one that has no final answer may be taken up by the next request.
    async fn carry_out(&self, command: Command, deadline: Instant) -> ApiResult<Response> {
        let (id, sent) = (command.id, command.sent);
        let answer = match self.prepare(command, deadline).await {
            Ok(sending) => finish(&self.app, sending).await,
            Err(ApiError::NotSent(_) | ApiError::Conflict(_)) if sent => Err(ApiError::OutcomeUnknown),
            Err(error) => Err(error),
        };
        if let Err(error) = &answer {
            let nothing_came = matches!(error, ApiError::Refused { .. } | ApiError::NotSent(_));
            triggers::release(&self.app.db, id, nothing_came).await?;
        }
        answer
    }

    async fn prepare(&self, command: Command, deadline: Instant) -> ApiResult<Sending> {
        let Self { app, space, target, wish, .. } = self;
        let connector = target.connector_id;
        let opening = connectors::opening(&app.db, space.space, connector).await?;
        let opening = opening.ok_or(ApiError::Conflict("The pipeline is no longer active"))?;
        let (config, credentials) = opening.open(connector, &app.keyring)?;
        let source = Source { space: space.slug.clone(), connector_id: connector };
        let provider = provider::open(&config, &credentials, source, app.network)?;
        let wish = TriggerCommand {
            run: command.run_external_id.clone(),
            logical_date: wish.logical_date,
            conf: wish.conf.clone(),
            note: Some(signed(wish.note.as_deref(), space, &command)),
        };
        let (db, user) = (app.db.clone(), space.user.clone());
        let pipeline = target.external_id.clone();
        let begin_by = deadline - app.time_out.mul_f64(0.1);
        Ok(Sending { db, space: space.space, provider, user, pipeline, command, wish, begin_by })
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

async fn finish(app: &App, sending: Sending) -> ApiResult<Response> {
    match sending.send().await? {
        Outcome::Made(run) => made(app, &sending, run.id).await,
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

impl Named {
    fn read(headers: &HeaderMap) -> ApiResult<Self> {
        let Some(key) = headers.get("idempotency-key") else {
            return Ok(Self { key: None });
        };
        let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
        let key =
            key.ok_or(ApiError::BadRequest("The Idempotency-Key must be 1 to 255 visible ASCII characters"))?;
        Ok(Self { key: Some(key.to_owned()) })
    }
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
    let id = body::text_of(1..=MAX_RUN_ID_LENGTH)(value)?;
    match is_run_id(&id) {
        true => Ok(id),
        false => Err(Wrong::new(
            "value_error.str.regex",
            "string does not match regex \"^(?!\\.{1,2}$)[A-Za-z0-9_.~:+-]+$\"",
        )),
    }
}

impl TriggerWish {
    /// The same for bodies that ask the same.
    fn digest(&self) -> [u8; 32] {
        let asked = json!([self.conf, self.logical_date, self.run_id, self.note]);
        Sha256::digest(asked.to_string()).into()
    }
}
