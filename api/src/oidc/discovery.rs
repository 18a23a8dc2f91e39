//! What the provider says of itself: its endpoints and its signing keys.

use std::time::{Duration, Instant};

use jsonwebtoken::jwk::Jwk;
use provider::web_client::WebClient;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::{OidcError, read_json};

/// How long the endpoints are known, and how long it is known that the provider does not answer: clients that
/// open the sign-in address often must not send it many requests.
const TTL: Duration = Duration::from_secs(300);
const FAILURE_TTL: Duration = Duration::from_secs(3);

/// The metadata of a provider (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    /// Not parsed, so that a sign-in does not fail because of it.
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether the client's secret may be sent in the header, which is the default.
    pub(super) fn accepts_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }

    /// Returns where browsers sign out, if the provider says so.
    pub(super) fn end_session_endpoint(&self) -> Option<Url> {
        let url: Url = self.end_session_endpoint.as_ref()?.parse().ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    }
}

/// The metadata or the failure that was found last.
#[derive(Default)]
pub(super) struct Discovery(Mutex<Option<(Instant, Result<Metadata, String>)>>);

impl Discovery {
    /// Returns the provider's metadata.
    pub(super) async fn metadata(&self, web: &WebClient, issuer: &str) -> Result<Metadata, OidcError> {
        let mut found = self.0.lock().await;
        let is_fresh = |(at, found): &(Instant, Result<_, _>)| {
            at.elapsed() < if found.is_ok() { TTL } else { FAILURE_TTL }
        };
        if !found.as_ref().is_some_and(is_fresh) {
            let read = read(web, issuer).await.map_err(|error| error.to_string());
            *found = Some((Instant::now(), read));
        }
        let metadata = found.as_ref().map(|(_, found)| found.clone());
        metadata.unwrap_or_else(|| Err(String::new())).map_err(OidcError::Unavailable)
    }
}

async fn read(web: &WebClient, issuer: &str) -> Result<Metadata, OidcError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url: Url = url.parse().map_err(|_| OidcError::Unavailable("its issuer is no address".to_owned()))?;
    let metadata: Metadata = read_json(&web.get(&url, None).await?, "the discovery document")?;
    if metadata.issuer != issuer {
        let other = &metadata.issuer;
        return Err(OidcError::Unavailable(format!("its discovery document is of the issuer {other:?}")));
    }
    Ok(metadata)
}

/// Returns the signing keys, which a provider may exchange at any time. Keys of unknown kinds are left out.
pub(super) async fn keys(web: &WebClient, metadata: &Metadata) -> Result<Vec<Jwk>, OidcError> {
    let set: Value = read_json(&web.get(&metadata.jwks_uri, None).await?, "the list of keys")?;
    let keys = set["keys"].as_array().into_iter().flatten();
    Ok(keys.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
}
