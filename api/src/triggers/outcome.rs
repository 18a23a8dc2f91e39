//! Carries a trigger command out: sends it once, and finds out what became of it. One command makes at most one run,
//! because its run id was chosen and written down before anything was sent; its outcome is never guessed.

use std::time::Duration;

use contract::events::{RunObserved, UserRef};
use contract::ids::SpaceId;
use platform::db;
use provider::{Provider, ProviderError, TriggerCommand};
use sqlx::PgPool;
use tokio::time::{Instant, timeout, timeout_at};

use crate::store::triggers::{self, Command};

/// How long the provider may take for all of it; less than a command is ours.
const PATIENCE: Duration = Duration::from_secs(80);

/// What became of a command.
#[derive(Debug)]
pub enum Outcome {
    /// The run is there.
    Made(Box<RunObserved>),
    /// The provider's own code and words.
    Refused { status: u16, message: String },
    /// Nothing of it was sent.
    NotSent(String),
    /// It was sent, and nobody can say now what the provider made of it.
    Unknown,
}

/// One command on its way.
pub struct Sending {
    pub db: PgPool,
    pub space: SpaceId,
    pub provider: Box<dyn Provider>,
    pub user: UserRef,
    /// The provider's id of the pipeline.
    pub pipeline: String,
    pub command: Command,
    pub wish: TriggerCommand,
    /// A provider that has not answered by then is sent nothing: nobody would wait for the outcome.
    pub begin_by: Instant,
}

impl Sending {
    /// Sends the command and, where a run came of it, makes the run readable.
    ///
    /// # Errors
    /// When the database is away; the command can be taken up again.
    pub async fn send(&self) -> sqlx::Result<Outcome> {
        let outcome = timeout(PATIENCE, self.attempt()).await.unwrap_or(Ok(Outcome::Unknown))?;
        if let Outcome::Made(run) = &outcome {
            triggers::record(&self.db, self.space, self.command.id, run).await?;
        }
        Ok(outcome)
    }

    async fn attempt(&self) -> sqlx::Result<Outcome> {
        let answers = timeout_at(self.begin_by, self.provider.clock()).await;
        // What fails here fails before the command itself is sent.
        let failed = match answers {
            Ok(Ok(_)) => None,
            Ok(Err(error @ (ProviderError::CredentialsRefused { .. } | ProviderError::Forbidden { .. }))) => {
                Some(refused(error))
            }
            Ok(Err(error)) => Some(Outcome::NotSent(error.to_string())),
            Err(_) => {
                Some(Outcome::NotSent("The provider gave no answer in time; nothing was sent".to_owned()))
            }
        };
        if let Some(outcome) = failed {
            return Ok(self.unless_sent(outcome));
        }
        if self.command.sent
            && let Some(run) = self.look_up().await?.ok().flatten()
        {
            return Ok(self.made(run));
        }
        triggers::note_sent(&self.db, self.command.id).await?;
        let seen = db::observe(&self.db).await?;
        match self.provider.trigger(&self.pipeline, &self.wish, seen).await {
            Ok(run) => Ok(self.made(run)),
            Err(
                error @ (ProviderError::Denied { .. }
                | ProviderError::Misconfigured(_)
                | ProviderError::Unreachable { sent: false, .. }),
            ) => Ok(self.unless_sent(Outcome::NotSent(error.to_string()))),
            Err(error) => self.find_out(error).await,
        }
    }

    /// What keeps this attempt from being sent tells nothing of an earlier one.
    fn unless_sent(&self, outcome: Outcome) -> Outcome {
        if !self.command.sent {
            return outcome;
        }
        tracing::warn!(?outcome, command = %self.command.id, "the outcome of an earlier attempt cannot be asked for");
        Outcome::Unknown
    }

    /// The provider said no, or nothing that makes sense. A no may be said of a run that our own first attempt made.
    async fn find_out(&self, error: ProviderError) -> sqlx::Result<Outcome> {
        tracing::info!(%error, command = %self.command.id, "looking a triggered run up");
        Ok(match self.look_up().await? {
            Ok(Some(run)) => self.made(run),
            Ok(_) => match error {
                ProviderError::Unreachable { .. }
                | ProviderError::Malformed { .. }
                | ProviderError::Oversized { .. } => Outcome::Unknown,
                answered => refused(answered),
            },
            Err(_) if is_plain_refusal(&error) => self.unless_sent(refused(error)),
            Err(_) => Outcome::Unknown,
        })
    }

    /// Our own run, if the provider has it.
    async fn look_up(&self) -> sqlx::Result<Result<Option<RunObserved>, ProviderError>> {
        let seen = db::observe(&self.db).await?;
        let found = self.provider.run(&self.pipeline, &self.wish.run, seen).await;
        Ok(found.map(|run| run.filter(|run| self.is_ours(run))))
    }

    /// An id that we made names our run alone; one that the caller chose may be somebody else's.
    fn is_ours(&self, run: &RunObserved) -> bool {
        let id = self.command.id.to_string();
        self.wish.run.contains(&id) || run.note.as_ref().is_some_and(|note| note.contains(&id))
    }

    fn made(&self, run: RunObserved) -> Outcome {
        Outcome::Made(Box::new(RunObserved { triggered_by: Some(self.user.clone()), ..run }))
    }
}

/// A no to what was asked, after which no run can come.
fn is_plain_refusal(error: &ProviderError) -> bool {
    match error {
        ProviderError::Refused { status, .. } => *status != 409,
        ProviderError::CredentialsRefused { .. } | ProviderError::Forbidden { .. } => true,
        _ => false,
    }
}

fn refused(error: ProviderError) -> Outcome {
    let words = error.to_string();
    match error {
        ProviderError::Refused { status, message }
        | ProviderError::CredentialsRefused { status, message }
        | ProviderError::Forbidden { status, message } => Outcome::Refused { status, message },
        ProviderError::Failing { status, .. } => Outcome::Refused { status, message: words },
        ProviderError::Throttled { .. } => Outcome::Refused { status: 429, message: words },
        _ => Outcome::NotSent(words),
    }
}
