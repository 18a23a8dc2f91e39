//! Credentials and headers of a connector: sealed as a whole, and shown without their secrets.

use std::collections::BTreeMap;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::client_certificate::ClientCertificate;
use super::expose::{expose, expose_all, expose_optional};
use super::service_account::ServiceAccount;
use contract::ids::ConnectorId;

/// The credentials for a provider. They serialize in full, and are serialized only to be sealed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "auth_type", rename_all = "snake_case")]
pub enum Credentials {
    #[default]
    None,
    Basic {
        username: String,
        #[serde(serialize_with = "expose")]
        password: SecretString,
    },
    Token {
        #[serde(serialize_with = "expose")]
        token: SecretString,
    },
    /// Tokens of an identity provider, by client credentials.
    Oauth2(ClientCredentials),
    /// Tokens of Google, by the key of a service account.
    ServiceAccount(ServiceAccount),
}

/// A client that is registered with an identity provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientCredentials {
    /// The token endpoint of OAuth 2.0, which [`check_token_url`](crate::check_token_url) accepts.
    pub token_url: Url,
    pub client_id: String,
    /// None for a client that authenticates with the connector's client certificate (RFC 8705).
    #[serde(default, serialize_with = "expose_optional")]
    pub client_secret: Option<SecretString>,
    /// Scopes, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    #[serde(default)]
    pub audience: Option<String>,
}

impl ClientCredentials {
    fn public(&self) -> serde_json::Value {
        serde_json::json!({
            "auth_type": "oauth2", "token_url": self.token_url, "client_id": self.client_id,
            "scope": self.scope, "audience": self.audience,
        })
    }
}

impl PartialEq for ClientCredentials {
    fn eq(&self, other: &Self) -> bool {
        let secret = |client: &Self| client.client_secret.as_ref().map(|it| it.expose_secret().to_owned());
        self.public() == other.public() && secret(self) == secret(other)
    }
}

impl Credentials {
    /// Returns the part that is not secret.
    pub fn public(&self) -> serde_json::Value {
        match self {
            Self::None => serde_json::json!({"auth_type": "none"}),
            Self::Basic { username, .. } => serde_json::json!({"auth_type": "basic", "username": username}),
            Self::Token { .. } => serde_json::json!({"auth_type": "token"}),
            Self::Oauth2(client) => client.public(),
            Self::ServiceAccount(account) => account.public(),
        }
    }
}

/// The sealed part of a connector: credentials, headers that are sent with every request, and a certificate
/// for servers that ask for one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Secrets {
    #[serde(flatten)]
    pub credentials: Credentials,
    /// Headers by name.
    #[serde(default, serialize_with = "expose_all")]
    pub headers: BTreeMap<String, SecretString>,
    #[serde(flatten)]
    pub client_certificate: Option<ClientCertificate>,
}

impl Secrets {
    /// Returns the part that is not secret: of headers only the names, of a client certificate not the key.
    pub fn public(&self) -> serde_json::Value {
        let mut public = self.credentials.public();
        public["headers"] = self.headers.keys().cloned().collect();
        if let Some(client) = &self.client_certificate {
            public["client_certificate"] = client.certificate.as_str().into();
        }
        public
    }
}

impl From<Credentials> for Secrets {
    fn from(credentials: Credentials) -> Self {
        Self { credentials, headers: BTreeMap::new(), client_certificate: None }
    }
}

/// Headers that the HTTP client sets itself.
pub const RESERVED_HEADERS: [HeaderName; 10] = [
    ACCEPT,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Checks a header that is to be sent with every request.
///
/// # Errors
/// One sentence that says what is wrong, without the value.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err("a header's name is letters, digits and - without spaces".to_owned());
    };
    if RESERVED_HEADERS.contains(&parsed) {
        return Err(format!("the header {parsed} is set by this service itself"));
    }
    match HeaderValue::from_str(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("the value of the header {parsed} holds characters that cannot be sent")),
    }
}

/// The additional authenticated data that a connector's credentials are sealed with.
pub fn credentials_aad(connector: ConnectorId) -> String {
    format!("connectors/{connector}/credentials_sealed")
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): ((&String, &SecretString), (&String, &SecretString))| {
            one.0 == other.0 && one.1.expose_secret() == other.1.expose_secret()
        };
        self.credentials == other.credentials
            && self.headers.len() == other.headers.len()
            && self.headers.iter().zip(&other.headers).all(same)
            && self.client_certificate == other.client_certificate
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (
                Self::Basic { username, password },
                Self::Basic { username: other_username, password: other_password },
            ) => username == other_username && password.expose_secret() == other_password.expose_secret(),
            (Self::Token { token }, Self::Token { token: other }) => {
                token.expose_secret() == other.expose_secret()
            }
            (Self::Oauth2(client), Self::Oauth2(other)) => client == other,
            (Self::ServiceAccount(account), Self::ServiceAccount(other)) => account == other,
            _ => false,
        }
    }
}
