//! Errors of providers, with texts that an operator can act on.

use std::time::Duration;

/// A failed call. The text is shown to users: it contains no credential and no internal detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No connection, or no complete response in time. `sent` is true if the request may have been processed.
    #[error("The provider at {host} cannot be reached ({reason}); check the base URL and that it is up.")]
    Unreachable { host: String, reason: String, sent: bool },

    /// 429, with the `Retry-After` of the response.
    #[error("The provider asks for fewer requests; the next poll waits.")]
    Throttled { retry_after: Option<Duration> },

    /// 5xx, with the `Retry-After` of the response.
    #[error("The provider at {host} answered {status}; look at its own log, the next poll tries again.")]
    Failing { host: String, status: u16, retry_after: Option<Duration> },

    /// The credentials are wrong or expired.
    #[error("The provider refused the credentials ({status}: {message}); update them in the connector.")]
    CredentialsRefused { status: u16, message: String },

    /// The credentials are valid, but lack permission.
    #[error("The provider denied access ({status}: {message}); give the connector's user the right to it.")]
    Forbidden { status: u16, message: String },

    /// Any other answer that says no; the status and the message are the provider's own.
    #[error("The provider refused ({status}): {message}")]
    Refused { status: u16, message: String },

    /// An answer that is not what its API promises.
    #[error("The provider's answer makes no sense ({reason}); check that the base URL is Airflow's own.")]
    Malformed { reason: String },

    /// The provider cannot be asked for a row by its path, and its lists do not say whether it is there.
    #[error("The provider does not say whether it has {id}; what was last seen of it is kept.")]
    Unaddressable { id: String },

    /// The response body exceeds the size limit.
    #[error(
        "The provider's answer is larger than {mib} MiB; look for what is huge there, such as the conf of a \
         run."
    )]
    Oversized { mib: usize },

    /// The network policy denies the address.
    #[error("The address {address} is not allowed; {advice}.")]
    Denied { address: String, advice: String },

    /// The configuration or the secrets are invalid.
    #[error("{0}")]
    Misconfigured(String),
}

/// Maximum length of a provider's message, in characters.
const MAX_REASON_LENGTH: usize = 300;

/// Joins a text of a provider to one line and cuts it.
pub(crate) fn shortened(text: &str) -> String {
    // No more is looked at than is kept, even of a text of megabytes.
    let text: String = text.chars().take(10 * MAX_REASON_LENGTH).collect();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_REASON_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl ProviderError {
    /// An answer that is not what its API promises; the reason is cut.
    pub(crate) fn malformed(reason: &str) -> Self {
        Self::Malformed { reason: shortened(reason) }
    }

    /// No connection, or no complete response in time; the reason is cut.
    pub(crate) fn unreachable(host: String, reason: &str, sent: bool) -> Self {
        Self::Unreachable { host, reason: shortened(reason), sent }
    }

    /// A row that the provider has no path to; its id is cut.
    pub(crate) fn unaddressable(id: &str) -> Self {
        Self::Unaddressable { id: shortened(id) }
    }

    /// Whether a retry may succeed without a change of the configuration or the provider.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Throttled { .. } | Self::Failing { .. })
    }

    /// The wait that the provider asked for; zero if it asked for none.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Throttled { retry_after } | Self::Failing { retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        }
    }
}
