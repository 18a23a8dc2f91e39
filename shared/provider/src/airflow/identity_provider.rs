//! The identity provider in front of an Airflow: access tokens by client credentials, as OAuth 2.0 has them
//! (RFC 6749, section 4.4). `token` keeps and renews them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{self, byte_serialize};

use super::transport::{self, Transport, sensitive_header};
use crate::connector::ClientCredentials;
use crate::error::one_line;
use crate::http_client::{self, read_body, retry_after};
use crate::{ProviderError, check_token_url};

/// Maximum size of a response, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// Errors of OAuth that pass by themselves; every other one is about the client.
const TRANSIENT_ERRORS: [&str; 3] = ["temporarily_unavailable", "server_error", "slow_down"];

/// The token endpoint, and the client that is registered there.
pub(super) struct IdentityProvider {
    http: reqwest::Client,
    transport: Transport,
    client: ClientCredentials,
    /// Whether the client authenticates in the body. Some providers accept only that, others only a header.
    authenticates_in_body: AtomicBool,
}

/// An access token.
pub(super) struct AccessToken {
    pub token: SecretString,
    /// None when the response does not contain it.
    pub lifetime: Option<Duration>,
}

impl IdentityProvider {
    /// Sends no request. The provider's certificate is always verified, whatever is configured for Airflow.
    pub(super) fn new(client: ClientCredentials, transport: Transport) -> Result<Self, ProviderError> {
        check_token_url(&client.token_url, &transport.resolver.policy)?;
        let http = http_client::build(transport.client_builder()?)?;
        Ok(Self { http, transport, client, authenticates_in_body: AtomicBool::new(false) })
    }

    /// Requests a token. A client that is refused authenticates once more in the other way.
    ///
    /// # Errors
    /// `CredentialsRefused` if the provider refuses the client in its own words; otherwise
    /// `TokenUnavailable`.
    pub(super) async fn request_token(&self) -> Result<AccessToken, ProviderError> {
        let in_body = self.authenticates_in_body.load(Ordering::Relaxed);
        let refused = match self.request_with_retry(in_body).await {
            Err(error @ ProviderError::CredentialsRefused { .. }) => error,
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
        (|| async { self.send(self.request(in_body)?).await })
            .retry(backoff.with_factor(4.0).with_max_times(2))
            .when(ProviderError::is_transient)
            .adjust(|error, wait| {
                let wait = wait?.max(error.retry_after());
                (started.elapsed() + wait <= self.transport.timeout).then_some(wait)
            })
            .await
    }

    fn request(&self, in_body: bool) -> Result<RequestBuilder, ProviderError> {
        let ClientCredentials { token_url, client_id, client_secret, scope, audience } = &self.client;
        let secret = client_secret.expose_secret();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("scope", scope), ("audience", audience)] {
            form.extend_pairs(value.as_ref().map(|value| (name, value)));
        }
        let request = self.http.post(token_url.clone()).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if in_body {
            form.append_pair("client_id", client_id).append_pair("client_secret", secret);
            return Ok(request.body(form.finish()));
        }
        let authorization = sensitive_header("Basic", &basic(client_id, secret))?;
        Ok(request.header(AUTHORIZATION, authorization).body(form.finish()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<AccessToken, ProviderError> {
        self.transport.resolver.check_target(&self.client.token_url).await?;
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
            let reason = "its response contains no access_token";
            return access_token(&body).ok_or_else(|| self.unavailable(reason, retry_after));
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        let (code, host) = (status.as_u16(), self.host());
        match refusal {
            Some(refusal) if status.is_client_error() && !refusal.is_transient() => {
                let message = one_line(&format!("the identity provider at {host} says {refusal}"));
                Err(ProviderError::CredentialsRefused { status: code, message })
            }
            None if code == 401 => {
                let message = format!("the identity provider at {host} gives no reason");
                Err(ProviderError::CredentialsRefused { status: code, message })
            }
            _ => Err(self.unavailable(&format!("it answered {code}"), retry_after)),
        }
    }

    fn unavailable(&self, reason: &str, retry_after: Option<Duration>) -> ProviderError {
        ProviderError::TokenUnavailable { host: self.host(), reason: one_line(reason), retry_after }
    }

    fn host(&self) -> String {
        transport::host(&self.client.token_url)
    }
}

/// The credentials of a `Basic` header: both parts are encoded as in a form (RFC 6749, section 2.3.1).
pub(super) fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)))
}

fn access_token(body: &[u8]) -> Option<AccessToken> {
    #[derive(Deserialize)]
    struct TokenResponse {
        access_token: SecretString,
        /// Seconds, which some providers write as text.
        expires_in: Option<Value>,
    }
    let response: TokenResponse = serde_json::from_slice(body).ok()?;
    let seconds = response.expires_in.and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    (!response.access_token.expose_secret().is_empty())
        .then_some(AccessToken { token: response.access_token, lifetime })
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
