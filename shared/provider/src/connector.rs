//! The configuration and the credentials of a connector. The API writes them and the worker reads them;
//! `platform::secrets` seals the credentials.

mod patch;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use derive_more::Display;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use contract::ids::ConnectorId;

pub use self::patch::ConnectorConfigPatch;

/// Apache Airflow as a connector type, and as the provider in events.
pub const AIRFLOW: &str = "airflow";

/// The type of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorType {
    Airflow,
    /// Stored, but never synced.
    Other(String),
}

impl From<String> for ConnectorType {
    fn from(name: String) -> Self {
        if name == AIRFLOW { Self::Airflow } else { Self::Other(name) }
    }
}

impl ConnectorType {
    /// The name as it is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Airflow => AIRFLOW,
            Self::Other(name) => name,
        }
    }
}

/// How to reach and poll a provider. Stored as JSON, and returned by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorConfig {
    /// Includes the base path, without the path of the REST API.
    pub base_url: Url,
    #[serde(default)]
    pub api_version: ApiVersion,
    /// A cron expression of six fields, seconds first, in UTC. Without one the connector is synced on request
    /// only.
    #[serde(default)]
    pub schedule: Option<String>,
    /// How far back the first sync reads, in days.
    #[serde(default = "ConnectorConfig::default_history_days")]
    pub history_days: u16,
    #[serde(default = "ConnectorConfig::default_verify_tls")]
    pub verify_tls: bool,
    /// The maximum number of concurrent requests.
    #[serde(default = "ConnectorConfig::default_max_requests_in_flight")]
    pub max_requests_in_flight: u16,
    /// The maximum number of requests per second.
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

    /// Certificates are verified by default.
    pub fn default_verify_tls() -> bool {
        true
    }

    /// 4: the server and its database are the bottleneck; more concurrency showed no gain in measurements.
    pub fn default_max_requests_in_flight() -> u16 {
        4
    }

    /// 50: more than a server of the usual size can serve, so that the limit only affects very fast servers.
    pub fn default_max_requests_per_second() -> u16 {
        50
    }
}

/// The version of the provider's REST API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "lowercase")]
pub enum ApiVersion {
    /// Detect the newest version that the server has.
    #[default]
    Auto,
    V1,
    V2,
}

impl ApiVersion {
    pub const ALL: [Self; 3] = [Self::Auto, Self::V1, Self::V2];
}

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
}

impl Credentials {
    /// Returns the part that is not secret.
    pub fn public(&self) -> serde_json::Value {
        match self {
            Self::None => serde_json::json!({"auth_type": "none"}),
            Self::Basic { username, .. } => serde_json::json!({"auth_type": "basic", "username": username}),
            Self::Token { .. } => serde_json::json!({"auth_type": "token"}),
        }
    }
}

/// The sealed part of a connector: credentials, and headers that are sent with every request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Secrets {
    #[serde(flatten)]
    pub credentials: Credentials,
    /// Headers by name.
    #[serde(default, serialize_with = "expose_all")]
    pub headers: BTreeMap<String, SecretString>,
}

impl Secrets {
    /// Returns the part that is not secret: of headers only the names.
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

fn expose_all<S: Serializer>(
    secrets: &BTreeMap<String, SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose_secret())))
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// The additional authenticated data that a connector's credentials are sealed with.
pub fn credentials_aad(connector: ConnectorId) -> String {
    format!("connectors/{connector}/credentials_sealed")
}

/// Parses a cron expression of six fields, seconds first.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn parse_schedule(expression: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .build()
        .parse(expression)
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
