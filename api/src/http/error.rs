//! Every error response: its status code, its body and its headers. Details of internal errors go to the log
//! and never into a response.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::state::Role;
use platform::notifications::ChannelSecretError;
use platform::secrets::SecretError;
use platform::stored_connector::StoredConnectorError;
use provider::ProviderError;
use provider::connector::AIRFLOW;
use serde::Serialize;
use serde_json::json;

/// The result of a handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// The `Retry-After` header, in seconds, while a dependency is unavailable.
const RETRY_AFTER_SECONDS: u64 = 2;

/// The SQLSTATE of a statement that was cancelled, in the API by its time-out alone.
const STATEMENT_CANCELED: &str = "57014";

/// The `Retry-After` header, in seconds, of a request that asked for too much.
const STATEMENT_RETRY_SECONDS: u64 = 30;

/// Marks the response to a request that failed at the provider, whose status codes are no errors of this
/// service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedAtProvider;

/// Why a request fails.
#[derive(Debug)]
pub enum ApiError {
    BadRequest(&'static str),
    Unauthorized,
    /// The role that is required.
    RoleTooLow(Role),
    Forbidden(&'static str),
    /// The name of what was not found.
    NotFound(&'static str),
    /// The route exists, but has no such method.
    MethodNotAllowed,
    Conflict(&'static str),
    /// The limit, in bytes.
    TooLarge(usize),
    Invalid(Vec<FieldError>),
    /// A page of another origin sends what is not declared as JSON.
    NotJson,
    /// The number of seconds until the next request is accepted.
    TooManyRequests(u64),
    /// The limit on open event streams is reached: the key's with the number it has open, or the process's.
    TooManyStreams {
        open_of_key: Option<u32>,
    },
    /// The number of reads of the key that wait already.
    TooManyReads(usize),
    Internal,
    /// PostgreSQL did not finish a statement within its time-out.
    StatementTimeout,
    /// The reason, without the advice to try again.
    Unavailable(&'static str),
    /// The provider refused the request.
    Refused {
        status: u16,
        message: String,
    },
    /// Nothing was sent to the provider.
    NotSent(String),
    /// The request was sent to the provider, and its outcome is unknown.
    OutcomeUnknown,
}

/// An invalid field of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// `path`, `query` or `body`, followed by the path to the field.
    pub loc: Vec<String>,
    /// The message for people.
    pub msg: String,
    /// The error type for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl ApiError {
    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::RoleTooLow(_) | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests(_)
            | Self::TooManyReads(_)
            | Self::TooManyStreams { open_of_key: Some(_) } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::StatementTimeout | Self::TooManyStreams { open_of_key: None } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            Self::NotSent(_) => StatusCode::BAD_GATEWAY,
            Self::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns the JSON body.
    pub fn body(&self) -> serde_json::Value {
        match self {
            Self::Invalid(errors) => json!({"detail": errors}),
            Self::Refused { status, message } => {
                json!({"detail": message, "provider": AIRFLOW, "provider_status": status})
            }
            other => json!({"detail": other.sentence()}),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::BadRequest(text) | Self::Forbidden(text) | Self::Conflict(text) => (*text).to_owned(),
            Self::Unauthorized => {
                "A valid API key is needed: send the header `Authorization: Bearer qk_…`, or sign in"
                    .to_owned()
            }
            Self::RoleTooLow(role) => format!("This needs the role {role} in the space"),
            Self::NotFound(what) => format!("{what} not found"),
            Self::MethodNotAllowed => {
                "This route has no such method; the header Allow names those it has".to_owned()
            }
            Self::TooLarge(limit) => format!("The body is larger than the {limit} bytes allowed"),
            Self::NotJson => "Send JSON, with the header `Content-Type: application/json`".to_owned(),
            Self::TooManyRequests(seconds) => format!("Too many requests; try again in {seconds} seconds"),
            Self::TooManyStreams { open_of_key: Some(open) } => {
                format!("This key has {open} event streams open, and may have no more; close one first")
            }
            Self::TooManyStreams { open_of_key: None } => {
                "No more event streams can be open here; try again in a moment".to_owned()
            }
            Self::TooManyReads(waiting) => {
                format!("{waiting} lists wait for this key already; ask for fewer at a time")
            }
            Self::StatementTimeout => {
                "This takes longer than it may: narrow the filter or the time range, or ask for less"
                    .to_owned()
            }
            Self::Unavailable(what) => format!("{what}; try again in a moment"),
            Self::OutcomeUnknown => {
                "What the provider made of it is not known yet; ask again with the same Idempotency-Key"
                    .to_owned()
            }
            Self::NotSent(why) | Self::Refused { message: why, .. } => why.clone(),
            Self::Invalid(_) => "The input is invalid".to_owned(),
            Self::Internal => "Something went wrong here; the log knows it by this X-Request-Id".to_owned(),
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        if let Self::TooManyRequests(seconds) = self {
            return Some((header::RETRY_AFTER, (*seconds).into()));
        }
        if let Self::StatementTimeout = self {
            return Some((header::RETRY_AFTER, STATEMENT_RETRY_SECONDS.into()));
        }
        // By status code, because HTTP demands these headers of a provider's refusal that is passed on, too.
        match self.status() {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()))
            }
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        response.headers_mut().extend(self.header());
        if let Self::Refused { .. } | Self::NotSent(_) | Self::OutcomeUnknown = self {
            response.extensions_mut().insert(FailedAtProvider);
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        if sql_state(&error).is_some_and(|code| code == STATEMENT_CANCELED) {
            tracing::warn!(%error, "SQL statement timed out");
            return Self::StatementTimeout;
        }
        if is_transient(&error) {
            tracing::warn!(%error, "PostgreSQL unavailable");
            return Self::Unavailable("The database does not answer");
        }
        tracing::error!(%error, "SQL statement failed");
        Self::Internal
    }
}

/// Returns whether the same statement may succeed a moment later.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // SQLSTATE classes: connection exception, read-only transaction after a failover, invalid
        // authorization, invalid catalog name, transaction rollback, insufficient resources, object not in
        // prerequisite state, operator intervention, system error.
        error => sql_state(error).is_some_and(|code| {
            ["08", "25006", "28", "3D", "40", "53", "55", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
    }
}

fn sql_state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        tracing::error!(%error, "secret could not be sealed or opened");
        Self::Internal
    }
}

impl From<ChannelSecretError> for ApiError {
    fn from(error: ChannelSecretError) -> Self {
        tracing::error!(%error, "secrets of a channel could not be sealed or opened");
        Self::Internal
    }
}

impl From<StoredConnectorError> for ApiError {
    fn from(error: StoredConnectorError) -> Self {
        tracing::error!(%error, "stored connector could not be opened");
        Self::NotSent(error.to_string())
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "JSON conversion failed");
        Self::Internal
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Refused { status, message }
            | ProviderError::Forbidden { status, message, .. }
            | ProviderError::CredentialsRefused { status, message } => Self::Refused { status, message },
            other => Self::NotSent(other.to_string()),
        }
    }
}
