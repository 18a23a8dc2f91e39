//! Who we are to Airflow: the header that every request carries, the login that yields it and its renewal. Sending is
//! for `client`.

use std::sync::Arc;
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

use super::client::{Answer, Client};
use super::error_body;
use crate::ProviderError;
use crate::connector::Credentials;

/// A token is renewed this long before its end, or a tenth of its life if that is less.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// A client that has shown its credentials.
pub(super) struct Session {
    pub client: Arc<Client>,
    identity: Identity,
}

enum Identity {
    Nobody,
    /// Basic, or a token that somebody else renews.
    Fixed(HeaderValue),
    /// A token that is had for user and password.
    Login {
        username: String,
        password: SecretString,
        token: Mutex<Option<Token>>,
    },
}

struct Token {
    header: HeaderValue,
    /// None when the token does not tell its life.
    renew_at: Option<Instant>,
}

/// Parameters of a query, in order.
pub(super) type Query<'a> = Vec<(&'a str, String)>;

impl Session {
    /// As Airflow 2 wants it: the password itself with every request.
    pub fn with_basic(client: Arc<Client>, credentials: &Credentials) -> Result<Self, ProviderError> {
        let identity = match credentials {
            Credentials::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose_secret());
                Identity::Fixed(header("Basic", &STANDARD.encode(pair))?)
            }
            other => Self::without_password(other)?,
        };
        Ok(Self { client, identity })
    }

    /// As Airflow 3 wants it: a token for the password.
    pub fn with_login(client: Arc<Client>, credentials: &Credentials) -> Result<Self, ProviderError> {
        let identity = match credentials {
            Credentials::Basic { username, password } => Identity::Login {
                username: username.clone(),
                password: password.clone(),
                token: Mutex::new(None),
            },
            other => Self::without_password(other)?,
        };
        Ok(Self { client, identity })
    }

    fn without_password(credentials: &Credentials) -> Result<Identity, ProviderError> {
        match credentials {
            Credentials::Token { token } => Ok(Identity::Fixed(header("Bearer", token.expose_secret())?)),
            Credentials::None | Credentials::Basic { .. } => Ok(Identity::Nobody),
        }
    }

    /// Asks for what must be there.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Query<'_>,
    ) -> Result<T, ProviderError> {
        error_body::expect(&self.ask(path, query).await?)
    }

    /// Asks for what may be gone.
    pub async fn find<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, ProviderError> {
        error_body::expect_if_found(&self.ask(path, Vec::new()).await?)
    }

    /// Asks, with a new token if the old one is over.
    pub async fn ask(&self, path: &[&str], query: Query<'_>) -> Result<Answer, ProviderError> {
        let mut url = self.client.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let header = self.header(None).await?;
        let answer = self.client.get(&url, header.as_ref()).await?;
        if !self.may_renew(&answer) {
            return Ok(answer);
        }
        let header = self.header(header).await?;
        self.client.get(&url, header.as_ref()).await
    }

    /// Posts once. A refused token means that nothing was done, so that alone is tried again.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, ProviderError> {
        let url = self.client.url(path);
        let header = self.header(None).await?;
        let answer = self.client.post(&url, header.as_ref(), body).await?;
        if !self.may_renew(&answer) {
            return Ok(answer);
        }
        let header = self.header(header).await?;
        self.client.post(&url, header.as_ref(), body).await
    }

    /// Whether the answer refuses the token and not the user.
    fn may_renew(&self, answer: &Answer) -> bool {
        let stale = match answer.status {
            401 => true,
            403 => error_body::refuses_token(&error_body::message(&answer.body)),
            _ => false,
        };
        stale && matches!(self.identity, Identity::Login { .. })
    }

    /// The header to send, other than the one that was refused.
    async fn header(&self, refused: Option<HeaderValue>) -> Result<Option<HeaderValue>, ProviderError> {
        let (username, password, token) = match &self.identity {
            Identity::Nobody => return Ok(None),
            Identity::Fixed(header) => return Ok(Some(header.clone())),
            Identity::Login { username, password, token } => (username, password, token),
        };
        // Held over the login, so that many requests at once make one.
        let mut token = token.lock().await;
        if let Some(held) = token.as_ref()
            && held.renew_at.is_none_or(|at| Instant::now() < at)
            && refused.as_ref() != Some(&held.header)
        {
            return Ok(Some(held.header.clone()));
        }
        let new = log_in(&self.client, username, password).await?;
        let header = new.header.clone();
        *token = Some(new);
        Ok(Some(header))
    }
}

async fn log_in(client: &Client, username: &str, password: &SecretString) -> Result<Token, ProviderError> {
    #[derive(Deserialize)]
    struct Login {
        access_token: SecretString,
    }
    let url: Url = client.url(&["auth", "token"]);
    let body = json!({"username": username, "password": password.expose_secret()});
    let answer = client.post_repeatable(&url, &body).await?;
    let status = answer.status;
    let message = error_body::message(&answer.body);
    match status {
        200..300 => {
            let login: Login = error_body::expect(&answer)?;
            let token = login.access_token.expose_secret();
            Ok(Token { header: header("Bearer", token)?, renew_at: life(token).and_then(renewal) })
        }
        404 | 405 => Err(ProviderError::Misconfigured(
            "This Airflow has no login with user and password (/auth/token is not there); enter a token instead."
                .to_owned(),
        )),
        _ => Err(ProviderError::CredentialsRefused { status, message }),
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

fn renewal(life: Duration) -> Option<Instant> {
    Instant::now().checked_add(life.saturating_sub(RENEW_BEFORE.min(life / 10)))
}

/// How long a JWT lives, by the issuer's own clock at both ends.
fn life(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        iat: f64,
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(claims.exp - claims.iat).ok()
}
