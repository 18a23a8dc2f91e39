//! One attempt to send a command, and the resolution of its outcome. A command makes at most one run, because
//! its run id is stored before anything is sent; an outcome that cannot be resolved stays unknown.

use std::pin::pin;
use std::time::Duration;

use contract::events::{Observation, RunObserved, UserRef};
use contract::ids::SpaceId;
use platform::db;
use provider::connector::SecretKeys;
use provider::{Provider, ProviderError, TriggerCommand};
use sqlx::PgPool;
use tokio::time::{Instant, timeout, timeout_at};

use crate::store::triggers::{self, ClaimedTrigger};

/// The time-out of a whole attempt; shorter than the claim on its command.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(80);

/// The outcome of a command.
#[derive(Debug)]
pub(super) enum TriggerOutcome {
    /// The provider has the run.
    Created(Box<RunObserved>),
    /// The provider's status code and message.
    Refused { status: u16, message: String },
    /// Nothing was sent, for this reason.
    NotSent(String),
    /// The command was sent, and whether the provider made a run is unknown.
    Unknown,
}

/// One attempt to send a command.
pub(super) struct TriggerAttempt {
    pub db: PgPool,
    pub space: SpaceId,
    pub provider: Box<dyn Provider>,
    pub user: UserRef,
    /// The provider's id of the pipeline.
    pub pipeline: String,
    pub command: ClaimedTrigger,
    pub run: TriggerCommand,
    pub redact_conf: SecretKeys,
    /// Nothing is sent after this time, because the client would not get the outcome any more.
    pub send_before: Instant,
    /// If the command has no answer by this time, its run is looked up, before the client's response is due.
    pub answer_before: Instant,
}

impl TriggerAttempt {
    /// Sends the command.
    ///
    /// # Errors
    /// When the database fails; the command can be reclaimed.
    pub(super) async fn run(&self) -> sqlx::Result<TriggerOutcome> {
        timeout(ATTEMPT_TIMEOUT, self.send()).await.unwrap_or(Ok(TriggerOutcome::Unknown))
    }

    async fn send(&self) -> sqlx::Result<TriggerOutcome> {
        if let Some(failure) = self.check_provider().await {
            return Ok(self.unless_sent(failure));
        }
        if self.command.sent
            && let Some(run) = self.find_own_run().await?.ok().flatten()
        {
            return Ok(self.created(run));
        }
        triggers::mark_sent(&self.db, self.command.id).await?;
        let observation = db::observe(&self.db).await?;
        match self.trigger(observation).await? {
            Ok(run) => Ok(self.created(run)),
            Err(
                error @ (ProviderError::Denied { .. }
                | ProviderError::Misconfigured(_)
                | ProviderError::Unreachable { sent: false, .. }),
            ) => Ok(self.unless_sent(TriggerOutcome::NotSent(error.to_string()))),
            Err(error) => self.resolve_outcome(error).await,
        }
    }

    /// Sends the command, and returns the provider's answer or, if that takes too long, the command's run as
    /// soon as it exists. The answer is awaited all the same: it may come after the client has left.
    async fn trigger(&self, observation: Observation) -> sqlx::Result<Result<RunObserved, ProviderError>> {
        let mut answer = pin!(self.provider.trigger(&self.pipeline, &self.run, observation));
        if let Ok(answer) = timeout_at(self.answer_before, &mut answer).await {
            return Ok(answer);
        }
        tracing::info!(command = %self.command.id, "trigger not answered in time, resolving its outcome");
        let found = tokio::select! {
            answer = &mut answer => return Ok(answer),
            found = self.find_own_run() => found?,
        };
        match found {
            Ok(Some(run)) => Ok(Ok(run)),
            Ok(None) | Err(_) => Ok(answer.await),
        }
    }

    /// Calls the provider once before the command is sent, so that a failure here is known to have had no
    /// effect.
    async fn check_provider(&self) -> Option<TriggerOutcome> {
        match timeout_at(self.send_before, self.provider.clock()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error @ (ProviderError::CredentialsRefused { .. } | ProviderError::Forbidden { .. }))) => {
                Some(refused(error))
            }
            Ok(Err(error)) => Some(TriggerOutcome::NotSent(error.to_string())),
            Err(_) => {
                let reason = "The provider gave no answer in time; nothing was sent";
                Some(TriggerOutcome::NotSent(reason.to_owned()))
            }
        }
    }

    /// Returns the outcome of this attempt, or unknown if an earlier attempt was sent: its outcome may
    /// differ.
    fn unless_sent(&self, outcome: TriggerOutcome) -> TriggerOutcome {
        if !self.command.sent {
            return outcome;
        }
        tracing::warn!(?outcome, command = %self.command.id, "outcome of the earlier attempt unresolved");
        TriggerOutcome::Unknown
    }

    /// Resolves the outcome after an error or an invalid response. Even a refusal may concern a run that an
    /// earlier attempt of the same command made.
    async fn resolve_outcome(&self, error: ProviderError) -> sqlx::Result<TriggerOutcome> {
        tracing::info!(%error, command = %self.command.id, "resolving trigger outcome");
        Ok(match self.find_own_run().await? {
            Ok(Some(run)) => self.created(run),
            Ok(None) => match error {
                ProviderError::Unreachable { .. }
                | ProviderError::Malformed { .. }
                | ProviderError::Oversized { .. } => TriggerOutcome::Unknown,
                error => refused(error),
            },
            Err(_) if is_definite_refusal(&error) => self.unless_sent(refused(error)),
            Err(_) => TriggerOutcome::Unknown,
        })
    }

    /// Finds the run of this command, if the provider has it.
    async fn find_own_run(&self) -> sqlx::Result<Result<Option<RunObserved>, ProviderError>> {
        let observation = db::observe(&self.db).await?;
        let found = self.provider.run(&self.pipeline, &self.run.run, observation).await;
        Ok(found.map(|run| run.map(|run| run.value).filter(|run| self.is_own(run))))
    }

    /// Returns whether a run belongs to this command. A generated run id is unique; one that the client chose
    /// may name another run, which the signature in the note distinguishes.
    fn is_own(&self, run: &RunObserved) -> bool {
        let id = self.command.id.to_string();
        self.run.run.contains(&id) || run.note.as_ref().is_some_and(|note| note.contains(&id))
    }

    fn created(&self, mut run: RunObserved) -> TriggerOutcome {
        if run.truncated {
            // The provider's answer cannot be read in this; it is what was sent.
            let redacted = self.redact_conf.redact(self.run.conf.get());
            let conf = redacted.as_deref().unwrap_or(self.run.conf.get());
            let conf = conf.parse().unwrap_or_default();
            (run.conf, run.conf_bytes, run.truncated) = (conf, None, false);
        }
        TriggerOutcome::Created(Box::new(RunObserved { triggered_by: Some(self.user.clone()), ..run }))
    }
}

/// Returns whether the provider refused the request in a way that rules out a run.
fn is_definite_refusal(error: &ProviderError) -> bool {
    match error {
        ProviderError::Refused { status, .. } => *status != 409,
        ProviderError::CredentialsRefused { .. }
        | ProviderError::LoginFailed { .. }
        | ProviderError::TokenUnavailable { .. }
        | ProviderError::Forbidden { .. } => true,
        _ => false,
    }
}

fn refused(error: ProviderError) -> TriggerOutcome {
    let text = error.to_string();
    match error {
        ProviderError::Refused { status, message }
        | ProviderError::CredentialsRefused { status, message }
        | ProviderError::Forbidden { status, message, .. } => TriggerOutcome::Refused { status, message },
        ProviderError::Failing { status, .. } => TriggerOutcome::Refused { status, message: text },
        ProviderError::Throttled { message, .. } => TriggerOutcome::Refused { status: 429, message },
        _ => TriggerOutcome::NotSent(text),
    }
}
