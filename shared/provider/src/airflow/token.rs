//! Tokens that are requested, kept, and requested again: before they expire, and after they were rejected.
//! `session` sends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::client::{Client, Response};
use super::error_body;
use super::identity_provider::{AccessToken, IdentityProvider};
use super::redaction::Redaction;
use super::transport::sensitive_header;
use crate::{ProviderError, Subject};

/// A token is renewed this long before it expires, or after nine tenths of its lifetime if that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// Where tokens come from.
pub(super) enum TokenSource {
    /// Airflow's own login with user and password.
    Login {
        username: String,
        password: SecretString,
    },
    IdentityProvider(Box<IdentityProvider>),
}

impl TokenSource {
    async fn request_token(&self, client: &Client) -> Result<AccessToken, ProviderError> {
        match self {
            Self::Login { username, password } => log_in(client, username, password).await,
            Self::IdentityProvider(provider) => provider.request_token().await,
        }
    }
}

/// The present token of a source.
pub(super) struct TokenCache {
    source: TokenSource,
    token: Mutex<Option<Token>>,
    pub(super) health: TokenHealth,
    redaction: Arc<Redaction>,
}

struct Token {
    header: HeaderValue,
    /// None when the lifetime is unknown.
    renew_at: Option<Instant>,
}

impl TokenCache {
    pub(super) fn new(source: TokenSource, redaction: Arc<Redaction>) -> Self {
        Self { source, token: Mutex::new(None), health: TokenHealth::default(), redaction }
    }

    /// Returns the header to send, which is not the rejected one.
    pub(super) async fn header(
        &self,
        client: &Client,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, ProviderError> {
        // The lock is held during the request, so that concurrent requests cause one login.
        let mut token = self.token.lock().await;
        if let Some(held) = token.as_ref()
            && held.renew_at.is_none_or(|at| Instant::now() < at)
            && rejected != Some(&held.header)
        {
            return Ok(held.header.clone());
        }
        let requested = self.source.request_token(client).await;
        let new = requested.map_err(|error| error.about(Subject::Login))?;
        self.redaction.add_token(&new.token);
        let text = new.token.expose_secret();
        let header = sensitive_header("Bearer", text)?;
        let renew_at = new.lifetime.or_else(|| lifetime(text)).and_then(renewal);
        self.health.reset();
        *token = Some(Token { header: header.clone(), renew_at });
        Ok(header)
    }
}

/// How requests with the present token went. Some login services wrap a token of their own, after whose end
/// the server answers every request with 500 or 403, although our token has not expired.
#[derive(Default)]
pub(super) struct TokenHealth {
    /// Whether a request has succeeded. A token that never worked is not renewed for its failures.
    has_worked: AtomicBool,
    failures_in_a_row: AtomicU32,
}

impl TokenHealth {
    fn reset(&self) {
        self.has_worked.store(false, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts the outcome of a request, and returns whether the token has worked and is suspected now: after
    /// `tolerated` failures in a row.
    pub(super) fn is_suspected_after(
        &self,
        outcome: &Result<Response, ProviderError>,
        tolerated: u32,
    ) -> bool {
        match outcome {
            Ok(Response { status: 403, .. }) | Err(ProviderError::Failing { .. }) => {
                let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                failures > tolerated && self.has_worked.load(Ordering::Relaxed)
            }
            Ok(Response { status: 401, .. }) | Err(_) => false,
            Ok(_) => {
                self.has_worked.store(true, Ordering::Relaxed);
                self.failures_in_a_row.store(0, Ordering::Relaxed);
                false
            }
        }
    }
}

async fn log_in(
    client: &Client,
    username: &str,
    password: &SecretString,
) -> Result<AccessToken, ProviderError> {
    #[derive(Deserialize)]
    struct Login {
        access_token: SecretString,
    }
    let url: Url = client.url(&["auth", "token"]);
    let body = json!({"username": username, "password": password.expose_secret()});
    let response = client.post_idempotent(&url, &body).await?;
    let status = response.status;
    let message = error_body::message(&response.body);
    match status {
        200..300 => {
            let login: Login = error_body::expect(&response)?;
            Ok(AccessToken { token: login.access_token, lifetime: None })
        }
        404 | 405 => Err(ProviderError::Misconfigured(
            "This Airflow has no login with user and password (/auth/token is not there); enter a token \
             instead."
                .to_owned(),
        )),
        // What Airflow answers to a wrong password, or to one that cannot be right.
        400 | 401 | 422 => Err(ProviderError::CredentialsRefused { status, message }),
        _ => Err(ProviderError::LoginFailed { status, message }),
    }
}

fn renewal(lifetime: Duration) -> Option<Instant> {
    Instant::now().checked_add(lifetime.saturating_sub(RENEW_BEFORE.min(lifetime / 10)))
}

/// The lifetime of a JWT, from its claims `iat` and `exp`.
fn lifetime(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        iat: f64,
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(claims.exp - claims.iat).ok()
}
