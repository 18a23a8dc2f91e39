//! The reasons why a sync failed, with texts that an operator can act on.

use std::time::Duration;

use platform::kafka::SendError;
use platform::stored_connector::StoredConnectorError;
use provider::ProviderError;

/// Why a sync ended before it was complete. The text is stored as the sync's `error`.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("PostgreSQL did not answer; the next sync goes on from here.")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Kafka(#[from] SendError),
    #[error("The connector was deleted; nothing is synced from it any more.")]
    Deleted,
    #[error("Only Airflow connectors can be synced.")]
    UnsupportedType,
    #[error(transparent)]
    Stored(#[from] StoredConnectorError),
    #[error(
        "The events were published, but the read model is {behind} records behind; look at the worker's log."
    )]
    ReadModelBehind { behind: i64 },
    #[error("{count} of {of} histories could not be read, the first of them that of {first}: {error}")]
    Unreadable { count: usize, of: usize, first: String, error: ProviderError },
    #[error("The {lists} could not be read; all else was. {error}")]
    UnreadList { lists: String, error: ProviderError },
    /// The runs of a history were read, but not their task runs.
    #[error("its task runs cannot be read: {0}")]
    UnreadTaskRuns(ProviderError),
    #[error(
        "{missing} of {total} pipelines are gone at once, so none was deactivated; if that is right, run a \
         full sync with accept_mass_deletion."
    )]
    MassDeletion { missing: usize, total: usize },
    #[error(
        "The sync was ended after {used_up}, since a list of the provider seems to have no end; what was \
         read stays."
    )]
    BudgetUsedUp { used_up: String },
    #[error("Another worker took this connector over.")]
    LeaseLost,
    /// Another worker may have taken the connector over in the meantime.
    #[error("PostgreSQL did not answer for {seconds} s; the sync goes back to the queue.")]
    DatabaseUnresponsive { seconds: u64 },
    #[error("The worker was stopped.")]
    Stopped,
    /// The syncs have ended already, with an error that names who cancelled them.
    #[error("The sync was cancelled.")]
    Cancelled,
}

impl SyncError {
    /// Whether everything else was read, and an operator must act: accept a mass deletion, or grant access.
    pub(crate) fn needs_operator(&self) -> bool {
        let is_forbidden = |error: &_| matches!(error, ProviderError::Forbidden { .. });
        match self {
            Self::MassDeletion { .. } => true,
            Self::UnreadList { error, .. } => is_forbidden(error),
            _ => false,
        }
    }

    /// The delay before the next request that the provider asked for.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Provider(error) | Self::Unreadable { error, .. } | Self::UnreadList { error, .. } => {
                error.retry_after()
            }
            _ => Duration::ZERO,
        }
    }
}

/// Whether the provider was reached and did not answer this request in time, or completely.
pub(super) fn is_unanswered(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Unreachable { sent: true, .. })
}

/// Whether an error that the provider answered with is specific to one request, so that other requests may
/// succeed.
pub(super) fn is_request_specific(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Failing { .. }
            | ProviderError::Forbidden { .. }
            | ProviderError::Refused { .. }
            | ProviderError::Malformed { .. }
            | ProviderError::Oversized { .. }
            | ProviderError::Unaddressable { .. }
    )
}
