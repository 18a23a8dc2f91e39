//! Changes to the configuration of an Airflow connector: its fields, their defaults and their schema.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Value, json};

use super::{ApiVersion, ConnectorConfig, SecretKeys};

/// The fields of a [`ConnectorConfig`] to set; absent fields keep their value. The caller has checked the
/// values with [`check_base_url`](crate::check_base_url), [`check_schedule`](super::check_schedule) and the
/// ranges of [`ConnectorConfig`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectorConfigPatch {
    /// Stored as it was entered: `Url` would normalise it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ApiVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_tls: Option<bool>,
    /// `Some(None)` removes the certificates. The caller has checked them with
    /// [`check_ca_certificate`](super::check_ca_certificate).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact_conf: Option<SecretKeys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_days: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_in_flight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_second: Option<i64>,
    /// `Some(None)` removes the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Option<String>>,
}

impl ConnectorConfigPatch {
    /// Returns the configuration to store: the defaults, overwritten by the stored one, then by this patch.
    pub fn apply(&self, stored: &Value) -> Value {
        let mut config = json!({
            "base_url": null,
            "api_version": ApiVersion::default(),
            "schedule": null,
            "history_days": ConnectorConfig::default_history_days(),
            "verify_tls": ConnectorConfig::default_verify_tls(),
            "ca_certificate": null,
            "redact_conf": SecretKeys::default(),
            "max_requests_in_flight": ConnectorConfig::default_max_requests_in_flight(),
            "max_requests_per_second": ConnectorConfig::default_max_requests_per_second(),
        });
        for fields in [stored, &json!(self)] {
            for (name, value) in fields.as_object().into_iter().flatten() {
                if let Some(field) = config.get_mut(name) {
                    field.clone_from(value);
                }
            }
        }
        config
    }

    /// Returns the OpenAPI schema of a patch with these required fields.
    pub fn schema(description: &str, required: &[&str]) -> Value {
        json!({
            "description": description, "type": "object", "required": required,
            "additionalProperties": false,
            "properties": {
                "base_url": {
                    "type": "string", "format": "uri", "maxLength": 2000, "description": "http or https, a \
                        host and perhaps a path, at an address that this installation may reach",
                },
                "api_version": {
                    "type": "string", "enum": ApiVersion::ALL, "default": ApiVersion::default()},
                "schedule": {"type": ["string", "null"], "format": "cron", "maxLength": 200, "description":
                    "A cron line of five or six fields (six: seconds first) in UTC that some date matches; \
                        null for none"},
                "history_days": number(
                    ConnectorConfig::HISTORY_DAYS, ConnectorConfig::default_history_days(),
                    "How many days the first sync looks back; never further than the worker keeps runs"),
                "verify_tls": {"type": "boolean", "default": ConnectorConfig::default_verify_tls()},
                "ca_certificate": {
                    "type": ["string", "null"], "format": "pem",
                    "maxLength": ConnectorConfig::MAX_CA_CERTIFICATE,
                    "description": "Certificates of private authorities as PEM, trusted besides the system's",
                },
                "redact_conf": {
                    "type": "array", "maxItems": SecretKeys::MAX, "default": SecretKeys::default(),
                    "items": {"type": "string", "minLength": 1, "maxLength": 100},
                    "description": "Patterns of keys whose values are replaced by *** in the conf of \
                        runs, before an event is made; * matches any characters, and case, _ and - do \
                        not matter",
                },
                "max_requests_in_flight": number(
                    ConnectorConfig::MAX_REQUESTS_IN_FLIGHT,
                    ConnectorConfig::default_max_requests_in_flight(),
                    "How many requests its syncs have open at a time"),
                "max_requests_per_second": number(
                    ConnectorConfig::MAX_REQUESTS_PER_SECOND,
                    ConnectorConfig::default_max_requests_per_second(),
                    "How many requests its syncs send in a second"),
            },
        })
    }
}

fn number(range: RangeInclusive<i64>, default: u16, description: &str) -> Value {
    let (minimum, maximum) = range.into_inner();
    json!({
        "type": "integer", "minimum": minimum, "maximum": maximum, "default": default,
        "description": description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_completes_and_overwrites_the_stored_configuration() {
        let patch =
            ConnectorConfigPatch { base_url: Some("HTTP://Airflow".to_owned()), ..Default::default() };
        let created = patch.apply(&Value::Null);
        let parsed: ConnectorConfig = serde_json::from_value(created.clone()).unwrap();
        assert_eq!((created["base_url"].as_str(), parsed.history_days), (Some("HTTP://Airflow"), 30));
        let stored = json!({"base_url": "http://old", "schedule": "0 0 0 * * *", "of_an_old_release": 1});
        let patch =
            ConnectorConfigPatch { history_days: Some(7), schedule: Some(None), ..Default::default() };
        let changed = patch.apply(&stored);
        assert_eq!((&changed["base_url"], &changed["history_days"]), (&json!("http://old"), &json!(7)));
        assert!(changed["schedule"].is_null() && changed.get("of_an_old_release").is_none());
    }
}
