//! The configuration and the credentials of a connector. The API writes them and the worker reads them;
//! `platform::secrets` seals the credentials.

mod ca_certificate;
mod client_certificate;
mod credentials;
mod expose;
mod patch;
mod secret_keys;
mod service_account;

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use derive_more::Display;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::ca_certificate::check_ca_certificate;
pub(crate) use self::ca_certificate::read_ca_certificate;
pub use self::client_certificate::{ClientCertificate, ClientCertificateFault};
pub use self::credentials::{
    ClientCredentials, Credentials, RESERVED_HEADERS, Secrets, check_header, credentials_aad,
};
pub use self::expose::expose;
pub use self::patch::ConnectorConfigPatch;
pub use self::secret_keys::SecretKeys;
pub use self::service_account::{ServiceAccount, ServiceAccountKey, check_rsa_key};

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
    /// A cron expression that [`parse_schedule`] accepts, in UTC. Without one the connector is synced on
    /// request only.
    #[serde(default)]
    pub schedule: Option<String>,
    /// How far back the first sync reads, in days.
    #[serde(default = "ConnectorConfig::default_history_days")]
    pub history_days: u16,
    #[serde(default = "ConnectorConfig::default_verify_tls")]
    pub verify_tls: bool,
    /// Certificates of private authorities that are trusted besides the system's, as PEM.
    #[serde(default)]
    pub ca_certificate: Option<String>,
    /// Whose values are replaced in the `conf` of runs.
    #[serde(default)]
    pub redact_conf: SecretKeys,
    /// The maximum number of concurrent requests.
    #[serde(default = "ConnectorConfig::default_max_requests_in_flight")]
    pub max_requests_in_flight: u16,
    /// The maximum number of requests per second.
    #[serde(default = "ConnectorConfig::default_max_requests_per_second")]
    pub max_requests_per_second: u16,
}

impl ConnectorConfig {
    /// The maximum length of `ca_certificate`, in characters.
    pub const MAX_CA_CERTIFICATE: usize = 20_000;
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

/// Parses a cron expression of five fields, or of six: seconds first.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn parse_schedule(expression: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build()
        .parse(expression)
        .map_err(|error| format!("must be a cron line of five or six fields (six: seconds first): {error}"))
}

/// The number of times of a schedule whose intervals are checked: whatever it repeats is among them.
const MAX_CHECKED_TIMES: usize = 100;

/// Checks a schedule that is to be stored: it parses, a time follows `now` that it matches, and its times are
/// at least `min_interval` seconds apart.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn check_schedule(expression: &str, now: DateTime<Utc>, min_interval: u32) -> Result<(), String> {
    let cron = parse_schedule(expression)?;
    let never = |_| "no date matches this schedule, so that it would never start a sync".to_owned();
    let mut before = cron.find_next_occurrence(&now, false).map_err(never)?;
    for next in cron.iter_after(before).take(MAX_CHECKED_TIMES) {
        let seconds = (next - before).num_seconds();
        if seconds < min_interval.into() {
            return Err(format!(
                "its syncs would be {seconds} s apart; this installation allows no less than {min_interval} s"
            ));
        }
        before = next;
    }
    Ok(())
}
