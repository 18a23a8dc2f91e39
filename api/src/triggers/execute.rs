//! Executes a trigger request: claims its command, sends it, and stores the final response for repeated
//! requests.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::events::{RunObserved, Source};
use contract::ids::PipelineId;
use provider::{self, TriggerCommand};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::attempt::{TriggerAttempt, TriggerOutcome};
use super::idempotency::repeated_response;
use super::request::TriggerRequest;
use crate::auth::SpaceMember;
use crate::http::error::{ApiError, ApiResult};
use crate::state::App;
use crate::store::triggers::{self, ClaimedTrigger, NewTrigger, TriggerClaim, TriggerTarget};
use crate::store::{connectors, runs};

/// Runs with a larger `conf`, in bytes, are stored and answered a few at a time: each takes several times
/// the memory of its `conf`.
const LARGE_CONF: usize = 64 << 10;
static LARGE_RUNS: Semaphore = Semaphore::const_new(2);

/// How often a request checks whether the owner of its command has finished.
const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A validated request to trigger a run.
pub(crate) struct PendingTrigger {
    pub app: App,
    pub member: SpaceMember,
    pub pipeline: PipelineId,
    pub target: TriggerTarget,
    pub idempotency_key: Option<String>,
    pub request: TriggerRequest,
}

impl PendingTrigger {
    /// Stores the command and executes it, unless its idempotency key names a command that is answered or in
    /// progress.
    pub(crate) async fn execute(self, deadline: Instant) -> ApiResult<Response> {
        let db = &self.app.db;
        let new = self.command();
        let stored = if new.idempotency_key.is_some() { triggers::find_claim(db, &new).await? } else { None };
        match stored {
            Some(claim @ (TriggerClaim::Answered(..) | TriggerClaim::KeyReused)) => {
                return repeated_response(claim);
            }
            // The outcome of a sent command is resolved even if the pipeline is no longer active.
            Some(TriggerClaim::Busy) => {}
            Some(TriggerClaim::Claimed(command)) if command.sent => {}
            Some(TriggerClaim::Claimed(_)) | None => self.check_target()?,
        }
        loop {
            match triggers::claim(db, &new).await? {
                TriggerClaim::Claimed(command) => return self.run_claimed(command, deadline).await,
                TriggerClaim::Busy if Instant::now() + BUSY_POLL_INTERVAL < deadline => {
                    sleep(BUSY_POLL_INTERVAL).await;
                }
                other => return repeated_response(other),
            }
        }
    }

    fn check_target(&self) -> ApiResult<()> {
        match (self.target.is_active, self.target.is_connector_active) {
            (true, true) => Ok(()),
            (false, _) => Err(ApiError::Conflict("The pipeline is no longer active")),
            (true, false) => Err(ApiError::Conflict("The connector is switched off")),
        }
    }

    fn command(&self) -> NewTrigger<'_> {
        NewTrigger {
            space: self.member.space,
            connector: self.target.connector_id,
            pipeline: self.pipeline,
            pipeline_external_id: &self.target.external_id,
            user: self.member.user.id,
            idempotency_key: self.idempotency_key.as_deref(),
            sha256: self.request.digest(),
            run_external_id: self.request.run_id.as_deref(),
        }
    }

    /// Sends the command. Without a final response it is released, so that the next request can reclaim it.
    async fn run_claimed(&self, command: ClaimedTrigger, deadline: Instant) -> ApiResult<Response> {
        let (id, sent) = (command.id, command.sent);
        let response = match self.prepare(command, deadline).await {
            Ok(attempt) => self.finish(attempt).await,
            Err(ApiError::NotSent(_) | ApiError::Conflict(_)) if sent => Err(ApiError::OutcomeUnknown),
            Err(error) => Err(error),
        };
        if let Err(error) = &response {
            let has_no_effect = matches!(error, ApiError::Refused { .. } | ApiError::NotSent(_));
            triggers::release(&self.app.db, id, has_no_effect).await?;
        }
        response
    }

    async fn prepare(&self, command: ClaimedTrigger, deadline: Instant) -> ApiResult<TriggerAttempt> {
        let Self { app, member, target, request, .. } = self;
        let connector = target.connector_id;
        let stored = connectors::find_stored(&app.db, member.space, connector).await?;
        let stored = stored.ok_or(ApiError::Conflict("The pipeline is no longer active"))?;
        let (mut config, credentials) = stored.open(connector, &app.keyring)?;
        // The run can be looked up while the command has no answer.
        config.max_requests_in_flight = config.max_requests_in_flight.max(2);
        let source = Source { space: member.slug.clone(), connector_id: connector };
        let provider = provider::open(&config, &credentials, source, &app.network)?;
        let run = TriggerCommand {
            run: command.run_external_id.clone(),
            logical_date: request.logical_date,
            conf: request.conf.clone(),
            note: Some(signed_note(request.note.as_deref(), member, &command)),
        };
        Ok(TriggerAttempt {
            db: app.db.clone(),
            space: member.space,
            provider,
            user: member.user.clone(),
            pipeline: target.external_id.clone(),
            command,
            run,
            redact_conf: config.redact_conf,
            send_before: deadline - app.request_timeout.mul_f64(0.4),
            answer_before: deadline - app.request_timeout.mul_f64(0.2),
        })
    }

    async fn finish(&self, attempt: TriggerAttempt) -> ApiResult<Response> {
        match attempt.run().await? {
            TriggerOutcome::Created(run) => self.created(&attempt, run).await,
            TriggerOutcome::Refused { status, message } => {
                let refusal = ApiError::Refused { status, message };
                // The provider may answer these differently when the same request is repeated.
                let is_retryable = matches!(status, 401 | 403 | 408 | 429 | 500..);
                if !is_retryable {
                    let body = RawValue::from_string(refusal.body().to_string())?;
                    triggers::store_answer(&self.app.db, attempt.command.id, status, &body).await?;
                }
                Err(refusal)
            }
            TriggerOutcome::NotSent(reason) => Err(ApiError::NotSent(reason)),
            TriggerOutcome::Unknown => Err(ApiError::OutcomeUnknown),
        }
    }

    /// Makes the run readable, and stores the response.
    async fn created(&self, attempt: &TriggerAttempt, run: Box<RunObserved>) -> ApiResult<Response> {
        let (db, space, command) = (&self.app.db, attempt.space, attempt.command.id);
        let is_large = run.conf.get().len() > LARGE_CONF;
        let _permit = if is_large { LARGE_RUNS.acquire().await.ok() } else { None };
        triggers::insert_run(db, space, command, &run).await?;
        let id = run.id;
        // What is large is held once at a time.
        drop(run);
        let found = runs::find(db, space, id, false).await?.ok_or(ApiError::NotFound("Run"))?;
        let body = to_raw_value(&found)?;
        drop(found);
        triggers::store_answer(db, command, StatusCode::CREATED.as_u16(), &body).await?;
        Ok((StatusCode::CREATED, Json(body)).into_response())
    }
}

/// Returns the note at the provider, with the user, the space and the command that triggered the run.
fn signed_note(note: Option<&str>, member: &SpaceMember, command: &ClaimedTrigger) -> String {
    let name: String = member.user.name.chars().take(100).collect();
    let signature =
        format!("Triggered by {name} through Orchestration, space {} (command {})", member.slug, command.id);
    match note.map(str::trim_end).filter(|note| !note.is_empty()) {
        Some(note) => format!("{note}\n\n{signature}"),
        None => signature,
    }
}
