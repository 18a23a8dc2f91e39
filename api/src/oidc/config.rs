//! The settings of the OpenID Connect provider.

use clap::Args;
use secrecy::SecretString;
use url::{Host, Url};

/// The OpenID Connect provider at which people may sign in, as settings.
#[derive(Args, Clone, Debug, Default)]
pub struct OidcConfig {
    /// Issuer of the OpenID Connect provider at which people sign in to the console, such as
    /// `https://login.example.org`; its client needs the redirect URI
    /// `<public URL>/api/v1.0/session/oidc/callback`
    #[arg(long, env = "ORCHESTRATION_OIDC_ISSUER", value_parser = parse_issuer)]
    #[arg(requires_all = ["oidc_client_id", "public_url"])]
    pub oidc_issuer: Option<String>,

    /// Id of this service at the OpenID Connect provider
    #[arg(long, env = "ORCHESTRATION_OIDC_CLIENT_ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,

    /// Secret of this service at the OpenID Connect provider; none for a public client
    #[arg(long, env = "ORCHESTRATION_OIDC_CLIENT_SECRET", hide_env_values = true, requires = "oidc_issuer")]
    pub oidc_client_secret: Option<SecretString>,

    /// Name of the OpenID Connect provider on the sign-in page
    #[arg(long, env = "ORCHESTRATION_OIDC_NAME", default_value = "single sign-on")]
    pub oidc_name: String,

    /// Scopes to request, separated by spaces
    #[arg(long, env = "ORCHESTRATION_OIDC_SCOPES", default_value = "openid email profile")]
    pub oidc_scopes: String,

    /// Claim that holds the groups of a person
    #[arg(long, env = "ORCHESTRATION_OIDC_GROUPS_CLAIM", default_value = "groups")]
    pub oidc_groups_claim: String,

    /// Treat e-mail addresses as verified when the provider does not say whether they are: a first sign-in
    /// then finds the user who was created with the address
    #[arg(
        long,
        env = "ORCHESTRATION_OIDC_TRUST_EMAIL",
        default_value_t = false,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub oidc_trust_email: bool,
}

/// The settings of a provider that is configured.
#[derive(Clone, Debug)]
pub struct OidcSettings {
    /// As it is in ID tokens, which a parsed URL need not be.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    pub name: String,
    pub scopes: String,
    pub groups_claim: String,
    pub trust_email: bool,
}

impl OidcConfig {
    /// Returns the provider; none without an issuer.
    pub fn settings(&self) -> Option<OidcSettings> {
        Some(OidcSettings {
            issuer: self.oidc_issuer.clone()?,
            client_id: self.oidc_client_id.clone()?,
            client_secret: self.oidc_client_secret.clone(),
            name: self.oidc_name.clone(),
            scopes: self.oidc_scopes.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            trust_email: self.oidc_trust_email,
        })
    }
}

/// Checks an issuer. Without TLS, an attacker on the way to the provider could sign in as any user.
fn parse_issuer(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_secure = url.scheme() == "https" || url.scheme() == "http" && is_local;
    if is_secure && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() {
        return Ok(text.to_owned());
    }
    Err("an issuer is an address like https://login.example.org, without a query".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_needs_tls_unless_it_is_on_this_machine() {
        for good in ["https://login.example.org", "https://x.org/realms/a/", "http://127.0.0.1:4000"] {
            assert_eq!(parse_issuer(good).as_deref(), Ok(good));
        }
        for bad in ["", "login.example.org", "http://login.example.org", "https://x.org/?a", "ftp://x.org"] {
            assert!(parse_issuer(bad).is_err(), "{bad:?}");
        }
    }
}
