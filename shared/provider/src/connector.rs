//! A connector's settings as they are stored: where the provider is, how to speak to it, when to poll it. The API
//! writes them, the worker reads them; keeping the secrets sealed is for `secrets`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use contract::ids::ConnectorId;

/// The provider's kind that can be synced.
pub const AIRFLOW: &str = "airflow";

/// How to reach and poll a provider. Stored as JSON and shown in the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorConfig {
    /// With any base path, without the REST version.
    pub base_url: Url,
    #[serde(default)]
    pub api_version: ApiVersion,
    /// A cron line of six fields, seconds first, in UTC; none polls only when asked.
    #[serde(default)]
    pub schedule: Option<String>,
    /// How far back the first sync reads, in days.
    #[serde(default = "ConnectorConfig::default_history_days")]
    pub history_days: u16,
    #[serde(default = "ConnectorConfig::default_verify_tls")]
    pub verify_tls: bool,
    /// How many requests its syncs have open at a time.
    #[serde(default = "ConnectorConfig::default_max_requests_in_flight")]
    pub max_requests_in_flight: u16,
    /// How many requests its syncs send in a second.
    #[serde(default = "ConnectorConfig::default_max_requests_per_second")]
    pub max_requests_per_second: u16,
}

impl ConnectorConfig {
    pub const HISTORY_DAYS: RangeInclusive<i64> = 1..=3650;
    pub const MAX_REQUESTS_IN_FLIGHT: RangeInclusive<i64> = 1..=32;
    pub const MAX_REQUESTS_PER_SECOND: RangeInclusive<i64> = 1..=1000;

    /// 30 days.
    pub fn default_history_days() -> u16 {
        30
    }

    /// Certificates are checked unless someone says otherwise.
    pub fn default_verify_tls() -> bool {
        true
    }

    /// 4: the server and its database are the bottleneck, and more at once was measured to bring nothing.
    pub fn default_max_requests_in_flight() -> u16 {
        4
    }

    /// 50: more than a server of the usual size can answer, so that it spares only one that answers at once.
    pub fn default_max_requests_per_second() -> u16 {
        50
    }
}

/// Which generation of the provider's REST API to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiVersion {
    /// Ask the server.
    #[default]
    Auto,
    V1,
    V2,
}

/// What the provider wants to see. Serialized in full only to be sealed.
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
}

impl Credentials {
    /// What may be read back.
    pub fn public(&self) -> serde_json::Value {
        match self {
            Self::None => serde_json::json!({"auth_type": "none"}),
            Self::Basic { username, .. } => serde_json::json!({"auth_type": "basic", "username": username}),
            Self::Token { .. } => serde_json::json!({"auth_type": "token"}),
        }
    }
}

/// All that is sealed of a connector: who we are to its provider, and what every request carries besides.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Secrets {
    #[serde(flatten)]
    pub credentials: Credentials,
    /// Headers by name.
    #[serde(default, serialize_with = "expose_all")]
    pub headers: BTreeMap<String, SecretString>,
}

impl Secrets {
    /// What may be read back: of headers their names.
    pub fn public(&self) -> serde_json::Value {
        let mut public = self.credentials.public();
        public["headers"] = self.headers.keys().cloned().collect();
        public
    }
}

impl From<Credentials> for Secrets {
    fn from(credentials: Credentials) -> Self {
        Self { credentials, headers: BTreeMap::new() }
    }
}

/// What a request says of itself, and what says who we are.
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

/// Whether a header may be sent with every request.
///
/// # Errors
/// What is wrong with it, in one sentence that does not tell its value.
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

fn expose_all<S: Serializer>(
    secrets: &BTreeMap<String, SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose_secret())))
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Where a connector's credentials are sealed to.
pub fn credentials_aad(connector: ConnectorId) -> String {
    format!("connectors/{connector}/credentials_sealed")
}

/// Reads a schedule: a cron line of six fields, seconds first.
///
/// # Errors
/// What is wrong with the line, in one sentence.
pub fn parse_schedule(line: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .build()
        .parse(line)
        .map_err(|error| format!("must be a cron line of six fields, seconds first: {error}"))
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): ((&String, &SecretString), (&String, &SecretString))| {
            one.0 == other.0 && one.1.expose_secret() == other.1.expose_secret()
        };
        self.credentials == other.credentials
            && self.headers.len() == other.headers.len()
            && self.headers.iter().zip(&other.headers).all(same)
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
            _ => false,
        }
    }
}
