//! Authentication: the `Authorization` header, the login that yields a token, and the renewal of the token.
//! `client` sends the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::client::{Client, Response, is_addressable};
use super::error_body;
use super::redaction::Redaction;
use crate::connector::Credentials;
use crate::{ProviderError, Subject};

/// A token is renewed this long before it expires, or after nine tenths of its lifetime if that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// After this many failing requests in a row, of whatever kind, the token is suspected.
const MAX_FAILURES_IN_A_ROW: u32 = 8;

/// An authenticated client.
pub(super) struct Session {
    pub client: Arc<Client>,
    auth: Authentication,
}

enum Authentication {
    None,
    /// Basic, or a configured token.
    Fixed(HeaderValue),
    /// A token that is requested with user and password.
    Login {
        username: String,
        password: SecretString,
        token: Mutex<Option<Token>>,
        health: TokenHealth,
        redaction: Arc<Redaction>,
    },
}

/// How requests with the present token went. Some login services wrap a token of their own, after whose end
/// the server answers every request with 500 or 403, although our token has not expired.
#[derive(Default)]
struct TokenHealth {
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
    fn is_suspected_after(&self, outcome: &Result<Response, ProviderError>, tolerated: u32) -> bool {
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

struct Token {
    header: HeaderValue,
    /// None when the token does not contain its lifetime.
    renew_at: Option<Instant>,
}

/// Query parameters, in order.
pub(super) type QueryParameters<'a> = Vec<(&'a str, String)>;

impl Session {
    /// Authenticates as Airflow 2 expects: with the password in every request.
    pub(super) fn with_basic(client: Arc<Client>, credentials: &Credentials) -> Result<Self, ProviderError> {
        let auth = match credentials {
            Credentials::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose_secret());
                Authentication::Fixed(header("Basic", &STANDARD.encode(pair))?)
            }
            other => Self::without_password(other)?,
        };
        Ok(Self { client, auth })
    }

    /// Authenticates as Airflow 3 expects: with a token that is requested with the password.
    pub(super) fn with_login(
        client: Arc<Client>,
        credentials: &Credentials,
        redaction: Arc<Redaction>,
    ) -> Result<Self, ProviderError> {
        let auth = match credentials {
            Credentials::Basic { username, password } => Authentication::Login {
                username: username.clone(),
                password: password.clone(),
                token: Mutex::new(None),
                health: TokenHealth::default(),
                redaction,
            },
            other => Self::without_password(other)?,
        };
        Ok(Self { client, auth })
    }

    fn without_password(credentials: &Credentials) -> Result<Authentication, ProviderError> {
        match credentials {
            Credentials::Token { token } => {
                Ok(Authentication::Fixed(header("Bearer", token.expose_secret())?))
            }
            Credentials::None | Credentials::Basic { .. } => Ok(Authentication::None),
        }
    }

    /// Reads a resource that exists.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
    ) -> Result<T, ProviderError> {
        error_body::expect(&self.send_get(path, query).await?)
    }

    /// Requests the resource that this id ends the path of, and that may not exist.
    ///
    /// # Errors
    /// `Unaddressable` if the id does not survive in a path, so that the response says nothing about it.
    pub(super) async fn find(&self, path: &[&str]) -> Result<Option<Response>, ProviderError> {
        let id = path.last().copied().unwrap_or_default();
        if !path.iter().all(|segment| is_addressable(segment)) {
            return Err(ProviderError::unaddressable(id));
        }
        let found = error_body::if_found(self.send_get(path, Vec::new()).await?, id);
        found.map_err(|error| match error {
            error if error_body::is_foreign_404(&error) => ProviderError::unaddressable(id),
            error => error,
        })
    }

    /// Sends a GET request, again with a new token if the token was rejected or is suspected after many
    /// failures.
    pub(super) async fn send_get(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
    ) -> Result<Response, ProviderError> {
        self.get_with_tolerance(path, query, MAX_FAILURES_IN_A_ROW).await
    }

    /// The same for the request that every sync and every trigger begins with: its first failure is a reason
    /// to log in again.
    pub(super) async fn send_first_get(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
    ) -> Result<Response, ProviderError> {
        self.get_with_tolerance(path, query, 0).await
    }

    async fn get_with_tolerance(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
        tolerated_failures: u32,
    ) -> Result<Response, ProviderError> {
        let mut url = self.client.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let header = self.header(None).await?;
        let outcome = self.client.get(&url, header.as_ref()).await;
        let Authentication::Login { health, .. } = &self.auth else { return outcome };
        let is_suspected = health.is_suspected_after(&outcome, tolerated_failures);
        if !is_suspected && !outcome.as_ref().is_ok_and(|response| self.is_token_rejected(response)) {
            return outcome;
        }
        let header = self.header(header).await?;
        let outcome = self.client.get(&url, header.as_ref()).await;
        health.is_suspected_after(&outcome, tolerated_failures);
        outcome
    }

    /// Sends a POST request once. It is repeated only after a rejected token, since then it had no effect.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Response, ProviderError> {
        let url = self.client.url(path);
        let header = self.header(None).await?;
        let response = self.client.post(&url, header.as_ref(), body).await?;
        if !self.is_token_rejected(&response) {
            return Ok(response);
        }
        let header = self.header(header).await?;
        self.client.post(&url, header.as_ref(), body).await
    }

    /// Whether the response rejects the token of a login, rather than the user.
    fn is_token_rejected(&self, response: &Response) -> bool {
        let is_rejected = match response.status {
            401 => true,
            403 => error_body::is_token_error(&error_body::message(&response.body)),
            _ => false,
        };
        is_rejected && matches!(self.auth, Authentication::Login { .. })
    }

    /// The header to send, which is not the rejected one.
    async fn header(&self, rejected: Option<HeaderValue>) -> Result<Option<HeaderValue>, ProviderError> {
        let (username, password, token, health, redaction) = match &self.auth {
            Authentication::None => return Ok(None),
            Authentication::Fixed(header) => return Ok(Some(header.clone())),
            Authentication::Login { username, password, token, health, redaction } => {
                (username, password, token, health, redaction)
            }
        };
        // The lock is held during the login, so that concurrent requests cause one login.
        let mut token = token.lock().await;
        if let Some(held) = token.as_ref()
            && held.renew_at.is_none_or(|at| Instant::now() < at)
            && rejected.as_ref() != Some(&held.header)
        {
            return Ok(Some(held.header.clone()));
        }
        let logged_in = log_in(&self.client, username, password, redaction).await;
        let new = logged_in.map_err(|error| error.about(Subject::Login))?;
        health.reset();
        let header = new.header.clone();
        *token = Some(new);
        Ok(Some(header))
    }
}

async fn log_in(
    client: &Client,
    username: &str,
    password: &SecretString,
    redaction: &Redaction,
) -> Result<Token, ProviderError> {
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
            redaction.add_token(&login.access_token);
            let token = login.access_token.expose_secret();
            Ok(Token { header: header("Bearer", token)?, renew_at: lifetime(token).and_then(renewal) })
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

fn header(scheme: &str, secret: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.trim())).map_err(|_| {
        ProviderError::Misconfigured(
            "The credentials hold characters that cannot be sent; enter them again.".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
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
