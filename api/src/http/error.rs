//! Every answer that is not the one asked for, once: its code, its body, its headers. What went wrong inside goes to
//! the log and never into an answer.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::state::Role;
use platform::secrets::SecretError;
use platform::stored_connector::StoredConnectorError;
use provider::ProviderError;
use serde_json::json;

use crate::http::request::Fault;
use crate::stream::Full;

/// What a handler gives back.
pub type ApiResult<T> = Result<T, ApiError>;

/// Seconds after which asking again makes sense while a part of the service is away.
const RETRY_AFTER: u64 = 2;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum ApiError {
    BadRequest(&'static str),
    Unauthorized,
    /// The role that would have been enough.
    RoleTooLow(Role),
    Forbidden(&'static str),
    /// What was not found.
    NotFound(&'static str),
    /// Of a known route.
    WrongMethod,
    Conflict(&'static str),
    /// The limit, in bytes.
    TooLarge(usize),
    Invalid(Vec<Fault>),
    /// Seconds until the next request is let in.
    TooManyRequests(u64),
    /// There is no room for one more event stream.
    TooManyStreams(Full),
    Internal,
    /// What is away, or going.
    Unavailable(&'static str),
    /// The provider's own refusal.
    Refused {
        status: u16,
        message: String,
    },
    /// Nothing could be sent to the provider.
    NotSent(String),
    /// It was sent to the provider, and what became of it is not known.
    OutcomeUnknown,
}

impl ApiError {
    /// Its code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::RoleTooLow(_) | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests(_) | Self::TooManyStreams(Full::Key(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::TooManyStreams(Full::Process) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            Self::NotSent(_) => StatusCode::BAD_GATEWAY,
            Self::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Its body.
    pub fn body(&self) -> serde_json::Value {
        match self {
            Self::Invalid(faults) => json!({"detail": faults}),
            Self::Refused { status, message } => {
                json!({"detail": message, "provider": provider::connector::AIRFLOW, "provider_status": status})
            }
            other => json!({"detail": other.sentence()}),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::BadRequest(text) | Self::Forbidden(text) | Self::Conflict(text) => (*text).to_owned(),
            Self::Unauthorized => {
                "A valid API key is needed: send the header `Authorization: Bearer qk_…`".to_owned()
            }
            Self::RoleTooLow(role) => format!("This needs the role {role} in the space"),
            Self::NotFound(what) => format!("{what} not found"),
            Self::WrongMethod => {
                "This route has no such method; the header Allow names those it has".to_owned()
            }
            Self::TooLarge(limit) => format!("The body is larger than the {limit} bytes allowed"),
            Self::TooManyRequests(seconds) => format!("Too many requests; try again in {seconds} seconds"),
            Self::TooManyStreams(Full::Key(open)) => {
                format!("This key has {open} event streams open, and may have no more; close one first")
            }
            Self::TooManyStreams(Full::Process) => {
                "No more event streams can be open here; try again in a moment".to_owned()
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
        // By code: what HTTP asks of an answer holds for a refusal of the provider's too.
        match self.status() {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some((header::RETRY_AFTER, RETRY_AFTER.into()))
            }
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        response.headers_mut().extend(self.header());
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match is_outage(&error) {
            true => {
                tracing::warn!(%error, "PostgreSQL does not answer");
                Self::Unavailable("The database does not answer")
            }
            false => {
                tracing::error!(%error, "a statement failed");
                Self::Internal
            }
        }
    }
}

/// Whether the same statement may well succeed a moment later.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection lost, read-only after a failover, not let in, rolled back by another, out of resources, stopped by an
        // operator or a time-out.
        sqlx::Error::Database(fault) => fault.code().is_some_and(|code| {
            ["08", "25006", "28", "3D", "40", "53", "55", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        tracing::error!(%error, "a secret cannot be handled");
        Self::Internal
    }
}

impl From<StoredConnectorError> for ApiError {
    fn from(error: StoredConnectorError) -> Self {
        tracing::error!(%error, "a connector cannot be used");
        Self::NotSent(error.to_string())
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "stored JSON cannot be read");
        Self::Internal
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Refused { status, message }
            | ProviderError::Forbidden { status, message }
            | ProviderError::CredentialsRefused { status, message } => Self::Refused { status, message },
            other => Self::NotSent(other.to_string()),
        }
    }
}
