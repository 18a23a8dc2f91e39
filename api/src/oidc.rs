//! Signing in at the company's OpenID Connect provider: the authorization code flow with PKCE, state and
//! nonce. The users, the sessions and the redirects of browsers are left to `routes`.

pub mod config;
mod discovery;
mod id_token;
mod pending;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use platform::secrets::Keyring;
use provider::web_client::{WebClient, WebResponse};
use provider::{NetworkPolicy, ProviderError};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use self::config::{OidcConfig, OidcSettings};
use self::discovery::{Discovery, Metadata};
use self::pending::PendingSignIn;
use crate::http::BASE_PATH;
use crate::store::identities::Identity;

pub use self::pending::PENDING_TTL;

/// The path below the base path at which a sign-in begins.
pub const PATH: &str = "/session/oidc";
/// The path of the address to which the provider sends browsers back, below the base path.
pub const CALLBACK_PATH: &str = "/session/oidc/callback";
/// The path at which a sign-out at the provider begins, below the base path.
pub const SIGN_OUT_PATH: &str = "/session/oidc/sign-out";
/// The console's page to sign in, which explains a problem.
pub const SIGN_IN_PAGE: &str = "/sign-in";

/// No request to the provider takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of characters of an authorization code.
const MAX_CODE_LENGTH: usize = 8_000;

/// Why a sign-in fails. The code is for the sign-in page, which explains it; the cause is for the log.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("the provider does not answer as it should: {0}")]
    Unavailable(String),
    #[error("the provider refused: {0}")]
    Refused(String),
    #[error("no sign-in of this browser is pending: {0}")]
    NotPending(&'static str),
    #[error("the ID token is not valid: {0}")]
    InvalidToken(String),
    #[error("the provider sends no verified e-mail address")]
    NoEmail,
}

impl OidcError {
    /// Returns the code of the problem.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::NotPending(_) => "not_pending",
            Self::InvalidToken(_) => "invalid_token",
            Self::NoEmail => "no_email",
        }
    }
}

impl From<ProviderError> for OidcError {
    fn from(error: ProviderError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A client of one provider.
pub struct OidcClient {
    settings: OidcSettings,
    redirect_uri: Url,
    web: WebClient,
    discovery: Discovery,
    keyring: Keyring,
}

/// A sign-in that begins.
pub struct SignInRequest {
    /// Where the browser goes.
    pub url: Url,
    /// What the browser keeps in a cookie until it comes back: sealed.
    pub pending: String,
}

/// How the provider sent the browser back.
#[derive(Debug, Default)]
pub struct Callback {
    pub state: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
    pub issuer: Option<String>,
}

/// The response of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<SecretString>,
}

impl OidcClient {
    /// Opens the client of the configured provider; none without one. Sends no request. The operator has
    /// chosen the issuer, which may have a private address. It is reached through the proxy of this network,
    /// if there is one.
    ///
    /// # Errors
    /// When the proxy is invalid, or TLS cannot be set up on this machine.
    pub fn open(
        config: &OidcConfig,
        public_url: Option<&Url>,
        keyring: &Keyring,
        network: &NetworkPolicy,
    ) -> Result<Option<Self>, ProviderError> {
        let (Some(settings), Some(url)) = (config.settings(), public_url) else { return Ok(None) };
        let mut redirect_uri = url.clone();
        redirect_uri.set_path(&format!("{BASE_PATH}{CALLBACK_PATH}"));
        let network = NetworkPolicy { allow_private_networks: true, ..network.clone() };
        let web = WebClient::new(network, REQUEST_TIMEOUT)?;
        let (discovery, keyring) = (Discovery::default(), keyring.clone());
        Ok(Some(Self { settings, redirect_uri, web, discovery, keyring }))
    }

    /// The name of the provider, as the sign-in page shows it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Begins a sign-in, after which the browser is to see the page at this path.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn begin(&self, return_to: &str) -> Result<SignInRequest, OidcError> {
        let metadata = self.discovery.metadata(&self.web, &self.settings.issuer).await?;
        let pending = PendingSignIn::new(return_to);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.redirect_uri.as_str())
            .append_pair("scope", &self.settings.scopes)
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let pending = pending.seal(&self.keyring);
        Ok(SignInRequest { url, pending: pending.ok_or(OidcError::NotPending("it could not be sealed"))? })
    }

    /// Returns the address at which a browser signs out at the provider (RP-Initiated Logout 1.0), and which
    /// sends it back to the sign-in page; none if the provider has no such address. ID tokens are not kept,
    /// and so the provider asks the person first.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn sign_out_url(&self) -> Result<Option<Url>, OidcError> {
        let metadata = self.discovery.metadata(&self.web, &self.settings.issuer).await?;
        let Some(mut url) = metadata.end_session_endpoint() else { return Ok(None) };
        let mut back = self.redirect_uri.clone();
        back.set_path(SIGN_IN_PAGE);
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", back.as_str());
        Ok(Some(url))
    }

    /// Finishes a sign-in: the person, and the path of the page to show. `pending` is what the browser kept.
    ///
    /// # Errors
    /// When the browser did not begin it, the provider refuses, or its answers are not valid.
    pub async fn finish(
        &self,
        pending: Option<&str>,
        callback: &Callback,
    ) -> Result<(Identity, String), OidcError> {
        let pending = pending.ok_or(OidcError::NotPending("there is no cookie"))?;
        let pending = PendingSignIn::open(&self.keyring, pending)
            .ok_or(OidcError::NotPending("the cookie is not ours, or too old"))?;
        if callback.state.as_ref() != Some(&pending.state) {
            return Err(OidcError::NotPending("the state is another one"));
        }
        if callback.issuer.as_ref().is_some_and(|issuer| *issuer != self.settings.issuer) {
            return Err(OidcError::InvalidToken("the response is of another issuer".to_owned()));
        }
        if let Some(error) = &callback.error {
            return Err(OidcError::Refused(error.chars().take(200).collect()));
        }
        let code = callback.code.as_deref().filter(|code| code.len() <= MAX_CODE_LENGTH);
        let code = code.ok_or_else(|| OidcError::Refused("it sent no code".to_owned()))?;
        let metadata = self.discovery.metadata(&self.web, &self.settings.issuer).await?;
        let tokens = self.exchange(&metadata, code, &pending.verifier).await?;
        let keys = discovery::keys(&self.web, &metadata).await?;
        let mut claims = id_token::verify(&tokens.id_token, &keys, &self.settings, &pending.nonce)?;
        self.complete(&metadata, &tokens, &mut claims).await?;
        Ok((self.identity(&claims)?, pending.return_to))
    }

    /// Exchanges the code for tokens.
    async fn exchange(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, OidcError> {
        let redirect_uri = self.redirect_uri.as_str();
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let id = self.settings.client_id.as_str();
        let secret = self.settings.client_secret.as_ref().map(ExposeSecret::expose_secret);
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = secret.filter(|_| metadata.accepts_basic()).map(|secret| (encode(id), encode(secret)));
        if basic.is_none() {
            fields.push(("client_id", id));
            fields.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let basic = basic.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()));
        let response = self.web.post_form(&metadata.token_endpoint, basic, &fields).await?;
        read_json(&response, "the token endpoint")
    }

    /// Adds the claims that the ID token lacks and the userinfo endpoint has.
    async fn complete(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        claims: &mut Value,
    ) -> Result<(), OidcError> {
        let wanted = ["email", "name", self.settings.groups_claim.as_str()];
        let is_complete = wanted.iter().all(|name| !claims[*name].is_null());
        let (Some(url), Some(token), false) =
            (&metadata.userinfo_endpoint, &tokens.access_token, is_complete)
        else {
            return Ok(());
        };
        let more: Value = read_json(&self.web.get(url, Some(token)).await?, "the userinfo endpoint")?;
        if more["sub"] != claims["sub"] {
            return Err(OidcError::InvalidToken("the userinfo is of another person".to_owned()));
        }
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), more) {
            for (name, value) in more.into_iter().filter(|(_, value)| !value.is_null()) {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    fn identity(&self, claims: &Value) -> Result<Identity, OidcError> {
        let text = |name: &str| claims[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        let email = text("email").filter(|email| email.contains('@') && !email.contains('\0'));
        let email = email.ok_or(OidcError::NoEmail)?;
        let is_email_verified = match &claims["email_verified"] {
            Value::Null => self.settings.trust_email,
            claim => *claim == true || *claim == "true",
        };
        if !is_email_verified && !claims["email_verified"].is_null() {
            return Err(OidcError::NoEmail);
        }
        let name = text("name").or(text("preferred_username")).or(email.split('@').next());
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
            subject: text("sub").unwrap_or_default().to_owned(),
            name: name.unwrap_or(email).replace('\0', ""),
            email: email.to_owned(),
            is_email_verified,
            groups: groups(claims, &self.settings.groups_claim)?,
        })
    }
}

/// Returns the groups in a claim: a list of texts, or one text.
fn groups(claims: &Value, name: &str) -> Result<Vec<String>, OidcError> {
    // Microsoft Entra leaves out the groups of people who are in many, and says where to read them instead.
    if !claims["_claim_names"][name].is_null() {
        let advice = "it leaves out the groups, which are too many; let it send those of the application";
        return Err(OidcError::InvalidToken(advice.to_owned()));
    }
    let groups = match &claims[name] {
        Value::Array(groups) => groups.iter().filter_map(Value::as_str).collect(),
        Value::String(group) => vec![group.as_str()],
        _ => vec![],
    };
    Ok(groups.into_iter().filter(|group| !group.contains('\0')).map(str::to_owned).collect())
}

/// Reads a successful response. A refusal has a text for the log in `error`.
fn read_json<T: serde::de::DeserializeOwned>(response: &WebResponse, of: &str) -> Result<T, OidcError> {
    if matches!(response.status, 400..500) {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().chars().take(200).collect::<String>();
        let (error, description) = (text("error"), text("error_description"));
        return Err(OidcError::Refused(format!("{of} answered {}: {error} {description}", response.status)));
    }
    if response.status != 200 {
        return Err(OidcError::Unavailable(format!("{of} answered {}", response.status)));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| OidcError::Unavailable(format!("{of} sent what cannot be read: {error}")))
}
