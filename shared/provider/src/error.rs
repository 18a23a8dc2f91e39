//! Errors of providers, with texts that an operator can act on.

use std::fmt;
use std::time::Duration;

/// The subject of a request, as error messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Version,
    Login,
    Pipelines,
    Pipeline,
    Tasks,
    Parameters,
    Runs,
    Run,
    TaskRuns,
    Trigger,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "its version",
            Self::Login => "the login",
            Self::Pipelines => "the list of pipelines",
            Self::Pipeline => "a pipeline",
            Self::Tasks => "the tasks of a pipeline",
            Self::Parameters => "the parameters of a pipeline",
            Self::Runs => "the list of runs",
            Self::Run => "a run",
            Self::TaskRuns => "the list of task runs",
            Self::Trigger => "the trigger of a run",
        })
    }
}

/// A failed call. The text is shown to users: it contains no credential and no internal detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No connection, or no complete response in time. `sent` is true if the request may have been processed.
    #[error("{}", unreachable(host, reason, *sent, *subject))]
    Unreachable { host: String, reason: String, sent: bool, subject: Option<Subject> },

    /// 429, with the `Retry-After` of the response and the provider's own message.
    #[error("The provider asks for fewer requests ({message}); the next poll waits.")]
    Throttled { retry_after: Option<Duration>, message: String },

    /// 5xx, with the `Retry-After` of the response.
    #[error(
        "The provider at {host} answered {status}{}; look at its own log, the next poll tries again.",
        to(*subject)
    )]
    Failing { host: String, status: u16, retry_after: Option<Duration>, subject: Option<Subject> },

    /// The login failed for another reason than the credentials, such as a proxy that is being deployed.
    #[error(
        "The login at the provider failed ({status}: {message}), which says nothing of the credentials; the \
         next poll tries again."
    )]
    LoginFailed { status: u16, message: String },

    /// The identity provider gave no token, for another reason than the credentials.
    #[error(
        "The identity provider at {host} gave no token ({reason}); check the token URL and that it is up, \
         the next poll tries again."
    )]
    TokenUnavailable { host: String, reason: String, retry_after: Option<Duration> },

    /// The credentials are wrong or expired.
    #[error("The provider refused the credentials ({status}: {message}); update them in the connector.")]
    CredentialsRefused { status: u16, message: String },

    /// The credentials are valid, but lack permission.
    #[error(
        "The provider denied access{} ({status}: {message}); give the connector's user the right to it.",
        to(*subject)
    )]
    Forbidden { status: u16, message: String, subject: Option<Subject> },

    /// Any other refusal; the status and the message are the provider's own.
    #[error("The provider refused ({status}): {message}")]
    Refused { status: u16, message: String },

    /// A response that contradicts the API's documentation.
    #[error("The provider's answer makes no sense ({reason}); check that the base URL is Airflow's own.")]
    Malformed { reason: String },

    /// A row cannot be requested by its path, and the provider's lists do not show whether it exists.
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
/// The maximum length of a text that is searched for secrets, in characters. A longer text is cut first.
const MAX_SEARCHED_LENGTH: usize = 64 * 1024;

/// Joins a text of a provider to one line. Its secrets are not removed yet. Control characters are replaced:
/// PostgreSQL does not store NUL, and a terminal acts on others.
pub(crate) fn one_line(text: &str) -> String {
    let printable = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let text: String = text.chars().take(MAX_SEARCHED_LENGTH).collect();
    let words = text.split_whitespace().map(|word| word.chars().map(printable).collect());
    words.collect::<Vec<String>>().join(" ")
}

/// Cuts a provider's message to the length that is stored and shown.
pub(crate) fn shortened(line: String) -> String {
    match line.char_indices().nth(MAX_REASON_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl ProviderError {
    /// A response that contradicts the API's documentation.
    pub(crate) fn malformed(reason: &str) -> Self {
        Self::Malformed { reason: one_line(reason) }
    }

    /// No connection, or no complete response in time.
    pub(crate) fn unreachable(host: String, reason: &str, sent: bool) -> Self {
        Self::Unreachable { host, reason: one_line(reason), sent, subject: None }
    }

    /// A row that the provider has no path to.
    pub(crate) fn unaddressable(id: &str) -> Self {
        Self::Unaddressable { id: one_line(id) }
    }

    /// Whether a retry may succeed without a change of the configuration or the provider.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Throttled { .. }
                | Self::Failing { .. }
                | Self::LoginFailed { .. }
                | Self::TokenUnavailable { .. }
        )
    }

    /// The delay that the provider asked for, or zero.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Throttled { retry_after, .. }
            | Self::Failing { retry_after, .. }
            | Self::TokenUnavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Adds the subject of the request to the error, unless it has one.
    #[must_use]
    pub fn about(mut self, requested: Subject) -> Self {
        if let Self::Unreachable { subject, .. }
        | Self::Failing { subject, .. }
        | Self::Forbidden { subject, .. } = &mut self
        {
            subject.get_or_insert(requested);
        }
        self
    }

    /// Replaces the provider's texts in the error.
    #[must_use]
    pub(crate) fn map_texts(mut self, replace: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Unreachable { reason: text, .. }
            | Self::TokenUnavailable { reason: text, .. }
            | Self::Malformed { reason: text }
            | Self::Unaddressable { id: text }
            | Self::Throttled { message: text, .. }
            | Self::LoginFailed { message: text, .. }
            | Self::CredentialsRefused { message: text, .. }
            | Self::Forbidden { message: text, .. }
            | Self::Refused { message: text, .. } => *text = replace(text),
            // These have no text of the provider.
            Self::Failing { .. } | Self::Oversized { .. } | Self::Denied { .. } | Self::Misconfigured(_) => {}
        }
        self
    }
}

fn to(subject: Option<Subject>) -> String {
    subject.map(|subject| format!(" to {subject}")).unwrap_or_default()
}

fn unreachable(host: &str, reason: &str, sent: bool, subject: Option<Subject>) -> String {
    match subject {
        Some(subject) if sent => format!(
            "The provider at {host} did not answer the request for {subject} ({reason}); look at its own \
             log, the next poll tries again."
        ),
        _ => format!(
            "The provider at {host} cannot be reached ({reason}); check the base URL and that it is up."
        ),
    }
}
