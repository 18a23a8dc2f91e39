//! Authentication: the `Authorization` header, and the requests that are sent again with a new token. `token`
//! keeps the token, `client` sends the requests.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::body_reader::BODY_LIMIT;
use super::client::{Client, Response, is_addressable};
use super::error_body;
use super::grant::Grant;
use super::identity_provider::IdentityProvider;
use super::redaction::Redaction;
use super::token::{TokenCache, TokenSource};
use super::transport::{Transport, sensitive_header};
use crate::ProviderError;
use crate::connector::Credentials;

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
    /// A token that is requested.
    Renewed(TokenCache),
}

/// Which failed attempts of a GET request are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retries {
    /// After every transient error.
    All,
    /// Not after a 500, which is expected.
    OfConnection,
}

impl Retries {
    fn include(self, error: &ProviderError) -> bool {
        let is_expected = matches!(error, ProviderError::Failing { status: 500, .. });
        error.is_transient() && (self == Self::All || !is_expected)
    }
}

/// Query parameters, in order.
pub(super) type QueryParameters<'a> = Vec<(&'a str, String)>;

impl Session {
    /// Authenticates in the way that does not depend on the version of Airflow; with user and password not at
    /// all.
    pub(super) fn of_any_version(
        client: Arc<Client>,
        credentials: &Credentials,
        redaction: Arc<Redaction>,
        transport: Transport,
    ) -> Result<Self, ProviderError> {
        let auth = match credentials {
            Credentials::None | Credentials::Basic { .. } => Authentication::None,
            Credentials::Token { token } => {
                Authentication::Fixed(sensitive_header("Bearer", token.expose_secret())?)
            }
            Credentials::Oauth2(client) => renewed(Grant::Client(client.clone()), redaction, transport)?,
            Credentials::ServiceAccount(account) => {
                renewed(Grant::ServiceAccount(account.clone()), redaction, transport)?
            }
        };
        Ok(Self { client, auth })
    }

    /// Authenticates as Airflow 2 expects: with the password in every request.
    pub(super) fn with_basic(
        client: Arc<Client>,
        username: &str,
        password: &SecretString,
    ) -> Result<Self, ProviderError> {
        let pair = format!("{username}:{}", password.expose_secret());
        let auth = Authentication::Fixed(sensitive_header("Basic", &STANDARD.encode(pair))?);
        Ok(Self { client, auth })
    }

    /// Authenticates as Airflow 3 expects: with a token that is requested with the password.
    pub(super) fn with_login(
        client: Arc<Client>,
        username: &str,
        password: &SecretString,
        redaction: Arc<Redaction>,
    ) -> Self {
        let source = TokenSource::Login { username: username.to_owned(), password: password.clone() };
        Self { client, auth: Authentication::Renewed(TokenCache::new(source, redaction)) }
    }

    /// Requests the resource that this id ends the path of, and that may not exist.
    ///
    /// # Errors
    /// `Unaddressable`, also if the response says nothing about the resource.
    pub(super) async fn find(&self, path: &[&str]) -> Result<Option<Response>, ProviderError> {
        let id = path.last().copied().unwrap_or_default();
        let found = error_body::if_found(self.send_get(path, Vec::new()).await?, id);
        found.map_err(|error| match error {
            error if error_body::is_foreign_404(&error) => ProviderError::unaddressable(id),
            error => error,
        })
    }

    /// Sends a GET request, again with a new token if the token was rejected or is suspected after many
    /// failures.
    ///
    /// # Errors
    /// `Unaddressable` if an id in the path does not survive there.
    pub(super) async fn send_get(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
    ) -> Result<Response, ProviderError> {
        self.send_list_get(path, query, Retries::All, BODY_LIMIT).await
    }

    /// The same for a page of a list, which may be expected to fail, and of which no more bytes are read.
    pub(super) async fn send_list_get(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
        retries: Retries,
        max_body: usize,
    ) -> Result<Response, ProviderError> {
        self.get_with_tolerance(path, query, MAX_FAILURES_IN_A_ROW, retries, max_body).await
    }

    /// The same for the request that every sync and every trigger begins with: its first failure is a reason
    /// to log in again.
    pub(super) async fn send_first_get(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
    ) -> Result<Response, ProviderError> {
        self.get_with_tolerance(path, query, 0, Retries::All, BODY_LIMIT).await
    }

    async fn get_with_tolerance(
        &self,
        path: &[&str],
        query: QueryParameters<'_>,
        tolerated_failures: u32,
        retries: Retries,
        max_body: usize,
    ) -> Result<Response, ProviderError> {
        if let Some(id) = path.iter().find(|segment| !is_addressable(segment)) {
            return Err(ProviderError::unaddressable(id));
        }
        let mut url = self.client.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let header = self.header(None).await?;
        let is_retried = |error: &ProviderError| retries.include(error);
        let outcome = self.client.get_with_retries(&url, header.as_ref(), max_body, is_retried).await;
        let Authentication::Renewed(TokenCache { health, .. }) = &self.auth else { return outcome };
        let is_suspected = health.is_suspected_after(&outcome, tolerated_failures);
        if !is_suspected && !outcome.as_ref().is_ok_and(|response| self.is_token_rejected(response)) {
            return outcome;
        }
        let header = self.header(header.as_ref()).await?;
        let outcome = self.client.get_with_retries(&url, header.as_ref(), max_body, is_retried).await;
        health.is_suspected_after(&outcome, tolerated_failures);
        outcome
    }

    /// Sends a POST request once. It is repeated only after a rejected token, since then it had no effect.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<Response, ProviderError> {
        let url = self.client.url(path);
        let header = self.header(None).await?;
        let response = self.client.post(&url, header.as_ref(), body).await?;
        if !self.is_token_rejected(&response) {
            return Ok(response);
        }
        let header = self.header(header.as_ref()).await?;
        self.client.post(&url, header.as_ref(), body).await
    }

    /// Whether the response rejects a requested token, rather than the user.
    fn is_token_rejected(&self, response: &Response) -> bool {
        let is_rejected = match response.status {
            401 => true,
            403 => error_body::is_token_error(&error_body::message(&response.body)),
            _ => false,
        };
        is_rejected && matches!(self.auth, Authentication::Renewed(_))
    }

    /// The header to send, which is not the rejected one.
    async fn header(&self, rejected: Option<&HeaderValue>) -> Result<Option<HeaderValue>, ProviderError> {
        match &self.auth {
            Authentication::None => Ok(None),
            Authentication::Fixed(header) => Ok(Some(header.clone())),
            Authentication::Renewed(token) => token.header(&self.client, rejected).await.map(Some),
        }
    }
}

/// Authentication with the tokens of an identity provider.
fn renewed(
    grant: Grant,
    redaction: Arc<Redaction>,
    transport: Transport,
) -> Result<Authentication, ProviderError> {
    let source = TokenSource::IdentityProvider(Box::new(IdentityProvider::new(grant, transport)?));
    Ok(Authentication::Renewed(TokenCache::new(source, redaction)))
}
