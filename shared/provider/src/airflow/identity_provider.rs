//! The identity provider in front of an Airflow, whose token endpoint issues tokens (RFC 6749). `grant` has
//! what is sent; `token` keeps and renews the tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::grant::{Grant, TokenRequest};
use super::transport::{self, Transport};
use crate::error::one_line;
use crate::http_client::{self, read_body, retry_after};
use crate::{ProviderError, check_token_url};

/// Maximum size of a response, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// Errors of OAuth that pass by themselves; every other one is about the client.
const TRANSIENT_ERRORS: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];

/// The token endpoint, and what entitles to its tokens.
pub(super) struct IdentityProvider {
    http: reqwest::Client,
    transport: Transport,
    grant: Grant,
    /// Whether the client authenticates in the body. Some providers accept only that, others only a header.
    authenticates_in_body: AtomicBool,
}

/// A token to send to Airflow.
pub(super) struct AccessToken {
    pub token: SecretString,
    /// None when the response does not contain it.
    pub lifetime: Option<Duration>,
}

impl IdentityProvider {
    /// Sends no request. The provider's certificate is always verified, whatever is configured for Airflow.
    pub(super) fn new(grant: Grant, transport: Transport) -> Result<Self, ProviderError> {
        check_token_url(grant.token_url(), &transport.resolver.policy)?;
        let http = http_client::build(transport.client_builder()?)?;
        Ok(Self { http, transport, grant, authenticates_in_body: AtomicBool::new(false) })
    }

    /// Requests a token. A client that is refused authenticates once more in the other way.
    ///
    /// # Errors
    /// `CredentialsRefused` if the provider refuses the client in its own words; otherwise
    /// `TokenUnavailable`.
    pub(super) async fn request_token(&self) -> Result<AccessToken, ProviderError> {
        let in_body = self.authenticates_in_body.load(Ordering::Relaxed);
        let refused = match self.request_with_retry(in_body).await {
            Err(error @ ProviderError::CredentialsRefused { .. }) if self.grant.has_client_secret() => error,
            outcome => return outcome,
        };
        match self.request_with_retry(!in_body).await {
            Ok(token) => {
                self.authenticates_in_body.store(!in_body, Ordering::Relaxed);
                Ok(token)
            }
            Err(_) => Err(refused),
        }
    }

    async fn request_with_retry(&self, in_body: bool) -> Result<AccessToken, ProviderError> {
        let started = Instant::now();
        let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(250));
        (|| async { self.send(self.grant.request(in_body)?).await })
            .retry(backoff.with_factor(4.0).with_max_times(2))
            .when(ProviderError::is_transient)
            .adjust(|error, wait| {
                let wait = wait?.max(error.retry_after());
                (started.elapsed() + wait <= self.transport.timeout).then_some(wait)
            })
            .await
    }

    async fn send(&self, request: TokenRequest) -> Result<AccessToken, ProviderError> {
        let TokenRequest { form, authorization, assertion } = request;
        self.transport.resolver.check_target(self.grant.token_url()).await?;
        let request = self.http.post(self.grant.token_url().clone()).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let request = authorization.into_iter().fold(request, |it, value| it.header(AUTHORIZATION, value));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.unavailable(&self.transport.failure(&error)?, None)),
        };
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let (body, is_whole) = match read_body(response, BODY_LIMIT).await {
            Ok(read) => read,
            Err(error) => return Err(self.unavailable(&self.transport.failure(&error)?, retry_after)),
        };
        if status.is_success() && is_whole {
            let field = self.grant.token_field();
            return issued_token(&body, field)
                .ok_or_else(|| self.unavailable(&format!("its response contains no {field}"), retry_after));
        }
        let refusal = self.refusal(status, &body, assertion.as_deref());
        Err(refusal
            .unwrap_or_else(|| self.unavailable(&format!("it answered {}", status.as_u16()), retry_after)))
    }

    /// The error that the credentials are refused; none if the response does not say so.
    fn refusal(&self, status: StatusCode, body: &[u8], assertion: Option<&str>) -> Option<ProviderError> {
        let (code, host) = (status.as_u16(), self.host());
        let message = match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) if status.is_client_error() && !refusal.is_transient() => {
                let said = refusal.to_string();
                let said = assertion.map_or_else(|| said.clone(), |assertion| said.replace(assertion, "…"));
                one_line(&format!("the identity provider at {host} says {said}"))
            }
            Err(_) if code == 401 => format!("the identity provider at {host} gives no reason"),
            _ => return None,
        };
        Some(ProviderError::CredentialsRefused { status: code, message })
    }

    fn unavailable(&self, reason: &str, retry_after: Option<Duration>) -> ProviderError {
        ProviderError::TokenUnavailable { host: self.host(), reason: one_line(reason), retry_after }
    }

    fn host(&self) -> String {
        transport::host(self.grant.token_url())
    }
}

/// Reads a token and its lifetime, in seconds, which some providers write as text.
fn issued_token(body: &[u8], field: &str) -> Option<AccessToken> {
    let mut response: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let seconds = response.remove("expires_in").and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match response.remove(field)? {
        Value::String(token) if !token.is_empty() => Some(AccessToken { token: token.into(), lifetime }),
        _ => None,
    }
}

/// An error of the token endpoint (RFC 6749, section 5.2).
#[derive(Deserialize, derive_more::Display)]
#[display("{error}{}", error_description.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Refusal {
    fn is_transient(&self) -> bool {
        TRANSIENT_ERRORS.contains(&self.error.as_str())
    }
}
