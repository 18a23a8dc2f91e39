//! A connector's settings as they are stored: where the provider is, how to speak to it, when to poll it. The API
//! writes them, the worker reads them; keeping the secrets sealed is for `secrets`.

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use crate::ids::ConnectorId;

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
}

impl ConnectorConfig {
    /// 30 days.
    pub fn default_history_days() -> u16 {
        30
    }

    /// Certificates are checked unless someone says otherwise.
    pub fn default_verify_tls() -> bool {
        true
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

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Where a connector's credentials are sealed to.
pub fn credentials_place(connector: ConnectorId) -> String {
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
