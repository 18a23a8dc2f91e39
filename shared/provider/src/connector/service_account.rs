//! Service accounts of Google: the key file, and the assertion with which a token is requested (RFC 7523).

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::expose::expose;

/// The scope of access tokens unless another one is given; Cloud Composer requires it.
const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion is valid. Google accepts at most an hour.
const ASSERTION_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// A service account, and the tokens that are requested for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub key: ServiceAccountKey,
    /// Scopes of access tokens, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// The audience of ID tokens, which are requested in place of access tokens if it is there.
    #[serde(default)]
    pub audience: Option<String>,
}

/// The fields of a key file that a request for a token needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceAccountKey {
    pub client_email: String,
    #[serde(default)]
    pub private_key_id: Option<String>,
    /// An RSA key as PEM, which [`check_rsa_key`] accepts.
    #[serde(serialize_with = "expose")]
    pub private_key: SecretString,
    /// The token endpoint, which [`check_token_url`](crate::check_token_url) accepts.
    pub token_uri: Url,
}

/// What an assertion says (RFC 7523, section 3), in the way that Google reads it.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_audience: Option<&'a str>,
}

impl ServiceAccount {
    /// Returns the part that is not secret.
    pub(super) fn public(&self) -> Value {
        let ServiceAccountKey { client_email, private_key_id, token_uri, .. } = &self.key;
        json!({
            "auth_type": "service_account", "scope": self.scope, "audience": self.audience, "key": {
                "client_email": client_email, "private_key_id": private_key_id, "token_uri": token_uri,
            },
        })
    }

    /// Returns a signed assertion, with which the token endpoint issues a token.
    ///
    /// # Errors
    /// When the key is not an RSA key.
    pub(crate) fn assertion(&self, now: DateTime<Utc>) -> jsonwebtoken::errors::Result<String> {
        let scope = self.scope.as_deref().or(Some(DEFAULT_SCOPE)).filter(|_| self.audience.is_none());
        let claims = Claims {
            iss: &self.key.client_email,
            aud: self.key.token_uri.as_str(),
            iat: now.timestamp(),
            exp: (now + ASSERTION_LIFETIME).timestamp(),
            scope,
            target_audience: self.audience.as_deref(),
        };
        let header = Header { kid: self.key.private_key_id.clone(), ..Header::new(Algorithm::RS256) };
        encode(&header, &claims, &EncodingKey::from_rsa_pem(self.key.private_key.expose_secret().as_bytes())?)
    }
}

impl PartialEq for ServiceAccount {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
            && self.key.private_key.expose_secret() == other.key.private_key.expose_secret()
    }
}

/// Checks the private key of a key file.
///
/// # Errors
/// One sentence that says what is wrong, without the key.
pub fn check_rsa_key(pem: &str) -> Result<(), String> {
    // A key is parsed completely when it signs.
    let signed = EncodingKey::from_rsa_pem(pem.as_bytes())
        .and_then(|key| encode(&Header::new(Algorithm::RS256), &json!({}), &key));
    signed.map(drop).map_err(|_| {
        "must be the RSA private key of the key file as PEM (-----BEGIN PRIVATE KEY-----), of 2048 bits or \
         more"
            .to_owned()
    })
}
