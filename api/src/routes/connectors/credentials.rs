//! The credentials in requests about connectors. No error contains a secret.

use std::collections::BTreeMap;

use provider::connector::{
    ClientCertificate, ClientCertificateFault, ClientCredentials, ConnectorConfig, Credentials, Secrets,
    ServiceAccount, ServiceAccountKey, check_header, check_rsa_key,
};
use provider::{NetworkPolicy, ProviderError, check_token_url};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::http::request::{Fields, ValueError, body};
use crate::store::connectors::MAX_EXTRA_HEADERS;

const MAX_URL_LENGTH: usize = 2_000;
const MAX_SECRET_LENGTH: usize = 10_000;
/// `password` and `api_token` are the names of the published API for `basic` and `token`.
const AUTH_TYPES: [&str; 7] =
    ["basic", "password", "token", "api_token", "oauth2", "service_account", "none"];

/// Reads the credentials, the extra headers and the client certificate.
pub(super) fn read_credentials(fields: &mut Fields, network: &NetworkPolicy) -> Option<Secrets> {
    let mut given = fields.object("credentials")?;
    let headers = given.optional("headers", headers).unwrap_or_default();
    let has_certificate = given.has("client_certificate");
    let client_certificate = read_client_certificate(&mut given);
    let auth_type = if given.has("username") && !given.has("auth_type") {
        Some("basic")
    } else {
        given.required("auth_type", body::one_of(&AUTH_TYPES))
    };
    let credentials =
        auth_type.and_then(|auth_type| read_credentials_of(auth_type, &mut given, has_certificate, network));
    if credentials.is_some() {
        given.deny_unknown();
    }
    fields.merge(given);
    credentials.map(|credentials| Secrets { credentials, headers, client_certificate })
}

fn read_credentials_of(
    auth_type: &str,
    given: &mut Fields,
    has_certificate: bool,
    network: &NetworkPolicy,
) -> Option<Credentials> {
    match auth_type {
        "basic" | "password" => {
            let username = given.required("username", body::text_of(1..=500));
            let password = given.required("password", body::text_of(0..=MAX_SECRET_LENGTH));
            username
                .zip(password)
                .map(|(username, password)| Credentials::Basic { username, password: password.into() })
        }
        field @ ("token" | "api_token") => given
            .required(field, body::text_of(1..=MAX_SECRET_LENGTH))
            .map(|token| Credentials::Token { token: token.into() }),
        "oauth2" => read_client(given, has_certificate, network).map(Credentials::Oauth2),
        "service_account" => read_service_account(given, network).map(Credentials::ServiceAccount),
        _ => Some(Credentials::None),
    }
}

/// Reads a client, which may authenticate with its certificate in place of a secret.
fn read_client(
    given: &mut Fields,
    has_certificate: bool,
    network: &NetworkPolicy,
) -> Option<ClientCredentials> {
    let token_url = given.required("token_url", |value| token_url(value, network));
    let client_id = given.required("client_id", body::text_of(1..=500));
    let client_secret = if has_certificate && !given.has("client_secret") {
        Some(None)
    } else {
        given.required("client_secret", body::text_of(1..=MAX_SECRET_LENGTH)).map(Some)
    };
    let scope = given.optional("scope", body::text_of(1..=2_000));
    let audience = given.optional("audience", body::text_of(1..=2_000));
    let client_secret = client_secret?.map(Into::into);
    Some(ClientCredentials { token_url: token_url?, client_id: client_id?, client_secret, scope, audience })
}

/// Reads a service account with its key file, of which only the fields that are used are kept.
fn read_service_account(given: &mut Fields, network: &NetworkPolicy) -> Option<ServiceAccount> {
    let scope = given.optional("scope", body::text_of(1..=2_000));
    let audience = given.optional("audience", body::text_of(1..=2_000));
    if scope.is_some() && audience.is_some() {
        let message = "a token has either scopes or an audience; leave out one of them";
        given.add_error("audience", ValueError::new("value_error.extra", message));
    }
    let mut file = given.object("key")?;
    let kind = file.required("type", body::one_of(&["service_account"]));
    let client_email = file.required("client_email", body::text_of(1..=500));
    let private_key_id = file.optional("private_key_id", body::text_of(1..=500));
    let private_key = file.required("private_key", rsa_key);
    let token_uri = file.required("token_uri", |value| token_url(value, network));
    given.merge(file);
    kind?;
    let key = ServiceAccountKey {
        client_email: client_email?,
        private_key_id,
        private_key: private_key?,
        token_uri: token_uri?,
    };
    Some(ServiceAccount { key, scope, audience })
}

fn rsa_key(value: Value) -> Result<SecretString, ValueError> {
    let pem = body::text_of(1..=MAX_SECRET_LENGTH)(value)?;
    check_rsa_key(&pem).map_err(|message| ValueError::new("value_error.key", message))?;
    Ok(pem.into())
}

/// Reads a certificate and its key: both, or neither.
fn read_client_certificate(given: &mut Fields) -> Option<ClientCertificate> {
    if !given.has("client_certificate") && !given.has("client_key") {
        return None;
    }
    let certificate =
        given.required("client_certificate", body::text_of(1..=ConnectorConfig::MAX_CA_CERTIFICATE));
    let key = given.required("client_key", body::text_of(1..=MAX_SECRET_LENGTH));
    let client = ClientCertificate { certificate: certificate?, key: key?.into() };
    let (field, message) = match client.check() {
        Ok(()) => return Some(client),
        Err(ClientCertificateFault::Certificate(message)) => ("client_certificate", message),
        Err(ClientCertificateFault::Key(message)) => ("client_key", message),
    };
    given.add_error(field, ValueError::new("value_error.certificate", message));
    None
}

fn token_url(value: Value, network: &NetworkPolicy) -> Result<Url, ValueError> {
    url(value, |url| check_token_url(url, network)).map(|(_, url)| url)
}

/// Reads a URL. Every connection checks the resolved address again.
pub(super) fn url(
    value: Value,
    check: impl FnOnce(&Url) -> Result<(), ProviderError>,
) -> Result<(String, Url), ValueError> {
    let text = body::text_of(1..=MAX_URL_LENGTH)(value)?;
    let url = Url::parse(&text).map_err(|_| ValueError::new("value_error.url", "invalid or missing URL"))?;
    check(&url).map_err(|error| ValueError::new("value_error.url", error.to_string()))?;
    Ok((text, url))
}

/// Reads extra headers by name. An error never contains the value, which may be a secret.
fn headers(value: Value) -> Result<BTreeMap<String, SecretString>, ValueError> {
    let given = body::storable_object(value)?;
    if given.len() > MAX_EXTRA_HEADERS {
        let message = format!("ensure this value has at most {MAX_EXTRA_HEADERS} items");
        return Err(ValueError::new("value_error.list.max_items", message));
    }
    let header = |(name, value): (String, Value)| {
        let value = body::text_of(1..=MAX_SECRET_LENGTH)(value)?;
        check_header(&name, &value).map_err(|message| ValueError::new("value_error.header", message))?;
        Ok((name, value.into()))
    };
    given.into_iter().map(header).collect()
}
