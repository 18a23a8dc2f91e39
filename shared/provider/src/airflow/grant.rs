//! What a token is requested with: the credentials of a client (RFC 6749, section 4.4, and RFC 8705 for those
//! that authenticate with a certificate), or the assertion of a service account (RFC 7523).
//! `identity_provider` sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use super::transport::sensitive_header;
use crate::ProviderError;
use crate::connector::{ClientCredentials, ServiceAccount};

/// The grant type of assertions.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What entitles to a token.
pub(super) enum Grant {
    Client(ClientCredentials),
    ServiceAccount(ServiceAccount),
}

/// A request to the token endpoint.
pub(super) struct TokenRequest {
    pub form: String,
    pub authorization: Option<HeaderValue>,
    /// A signed assertion in the form, which is as good as a password while it is valid.
    pub assertion: Option<String>,
}

impl Grant {
    pub(super) fn token_url(&self) -> &Url {
        match self {
            Self::Client(client) => &client.token_url,
            Self::ServiceAccount(account) => &account.key.token_uri,
        }
    }

    /// Whether a secret is sent, for which there are two places.
    pub(super) fn has_client_secret(&self) -> bool {
        matches!(self, Self::Client(ClientCredentials { client_secret: Some(_), .. }))
    }

    /// The field of the response that has the token.
    pub(super) fn token_field(&self) -> &'static str {
        match self {
            Self::ServiceAccount(ServiceAccount { audience: Some(_), .. }) => "id_token",
            _ => "access_token",
        }
    }

    /// Returns the request. The client's secret is in the body or in the header.
    pub(super) fn request(&self, in_body: bool) -> Result<TokenRequest, ProviderError> {
        match self {
            Self::Client(client) => client_request(client, in_body),
            Self::ServiceAccount(account) => assertion_request(account),
        }
    }
}

fn client_request(client: &ClientCredentials, in_body: bool) -> Result<TokenRequest, ProviderError> {
    let ClientCredentials { client_id, client_secret, scope, audience, .. } = client;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", scope), ("audience", audience)] {
        form.extend_pairs(value.as_ref().map(|value| (name, value)));
    }
    let secret = client_secret.as_ref().map(ExposeSecret::expose_secret);
    let mut authorization = None;
    match secret {
        Some(secret) if !in_body => {
            authorization = Some(sensitive_header("Basic", &basic(client_id, secret))?);
        }
        _ => {
            form.append_pair("client_id", client_id);
            form.extend_pairs(secret.map(|secret| ("client_secret", secret)));
        }
    }
    Ok(TokenRequest { form: form.finish(), authorization, assertion: None })
}

fn assertion_request(account: &ServiceAccount) -> Result<TokenRequest, ProviderError> {
    let assertion = account.assertion(Utc::now()).map_err(|_| {
        ProviderError::Misconfigured(
            "The key of the service account cannot sign; enter the key file again.".to_owned(),
        )
    })?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", JWT_BEARER).append_pair("assertion", &assertion);
    Ok(TokenRequest { form: form.finish(), authorization: None, assertion: Some(assertion) })
}

/// The credentials of a `Basic` header: both parts are encoded as in a form (RFC 6749, section 2.3.1).
pub(super) fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)))
}
