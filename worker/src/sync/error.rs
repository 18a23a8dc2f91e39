//! Why a sync failed, in words an operator can act on.

use std::time::Duration;

use shared::kafka::SendError;
use shared::provider::ProviderError;
use shared::secrets::SecretError;

/// What ended a sync before its time. The text goes into the sync's `error`.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("PostgreSQL did not answer; the next sync goes on from here.")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Kafka(#[from] SendError),
    #[error("The connector's settings cannot be used: {0}")]
    Settings(String),
    #[error("The connector's credentials cannot be read: {0}")]
    Credentials(#[from] SecretError),
    #[error(
        "The events were published, but the read model is {behind} records behind; look at the worker's log."
    )]
    ReadModelBehind { behind: i64 },
    #[error(
        "{missing} of {total} pipelines are gone at once, so none was deactivated; if that is right, run a full sync with accept_mass_deletion."
    )]
    MassDeletion { missing: usize, total: usize },
    #[error("Another worker took this connector over.")]
    LeaseLost,
    #[error("The worker was stopped.")]
    Stopped,
}

impl SyncError {
    /// How long the provider asked to be left alone.
    pub fn rest(&self) -> Duration {
        match self {
            Self::Provider(ProviderError::Throttled { retry_after }) => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}
