//! The bodies of requests about connectors. No error contains a secret.

use chrono::Utc;
use provider::connector::{
    ApiVersion, ConnectorConfig, ConnectorConfigPatch, ConnectorType, SecretKeys, Secrets,
    check_ca_certificate, check_schedule,
};
use provider::{NetworkPolicy, check_base_url};
use serde_json::Value;

use super::credentials::{read_credentials, url};
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::{Fields, ValueError, body};
use crate::state::App;
use crate::store::connectors::{
    ConfigChange, ConnectorChange, ConnectorQuotas, NewConnector, StoredConnectorRow,
};

const MAX_NAME_LENGTH: usize = 200;

/// What this installation allows to connectors.
#[derive(Clone, Copy)]
pub(super) struct ConnectorLimits<'a> {
    pub network: &'a NetworkPolicy,
    pub quotas: &'a ConnectorQuotas,
}

impl<'a> ConnectorLimits<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        Self { network: &app.network, quotas: &app.quotas }
    }
}

/// Reads a new connector.
pub(super) fn read_new(mut fields: Fields, limits: ConnectorLimits<'_>) -> ApiResult<NewConnector> {
    let name = fields.required("name", body::text_of(1..=MAX_NAME_LENGTH));
    let connector_type = fields.required("connector_type", body::text_of(1..=100));
    let is_active = fields.optional("is_active", body::boolean).unwrap_or(true);
    let connector_type = connector_type.map(ConnectorType::from);
    let config = match connector_type {
        Some(ConnectorType::Airflow) => read_airflow(&mut fields, true, limits),
        _ => {
            let config = fields.optional("config", body::storable_object).unwrap_or_default();
            Some(ConfigChange::Other(Value::Object(config)))
        }
    };
    let credentials = if fields.has_value("credentials") {
        read_credentials(&mut fields, limits.network)
    } else {
        Some(Secrets::default())
    };
    fields.finish()?;
    let (Some(name), Some(connector_type), Some(config), Some(credentials)) =
        (name, connector_type, config, credentials)
    else {
        return Err(ApiError::Internal);
    };
    Ok(NewConnector { name: name.trim().to_owned(), connector_type, is_active, config, credentials })
}

/// Reads the fields to change of a connector.
pub(super) fn read_change(
    fields: &mut Fields,
    before: &StoredConnectorRow,
    limits: ConnectorLimits<'_>,
) -> ConnectorChange {
    let name = fields.if_present("name", body::text_of(1..=MAX_NAME_LENGTH));
    let name = name.map(|name| name.trim().to_owned());
    let connector_type = fields.if_present("connector_type", body::text);
    if connector_type.is_some_and(|name| name != before.connector_type.as_str()) {
        let message = "the type cannot be changed; make another connector";
        fields.add_error("connector_type", ValueError::new("value_error.const", message));
    }
    let config = if !fields.has("config") {
        None
    } else if before.connector_type == ConnectorType::Airflow {
        read_airflow(fields, false, limits)
    } else {
        let config = fields.if_present("config", body::storable_object);
        config.map(|config| ConfigChange::Other(Value::Object(config)))
    };
    let credentials = if fields.has("credentials") { read_credentials(fields, limits.network) } else { None };
    ConnectorChange { name, is_active: fields.if_present("is_active", body::boolean), config, credentials }
}

/// Returns the given fields of an Airflow connector's configuration.
fn read_airflow(fields: &mut Fields, is_new: bool, limits: ConnectorLimits<'_>) -> Option<ConfigChange> {
    let ConnectorLimits { network, quotas } = limits;
    let mut given = fields.object("config")?;
    let read_url = |value| base_url(value, network);
    let patch = ConnectorConfigPatch {
        base_url: if is_new {
            given.required("base_url", read_url)
        } else {
            given.if_present("base_url", read_url)
        },
        api_version: given.if_present("api_version", body::one_of(&ApiVersion::ALL)),
        verify_tls: given.if_present("verify_tls", body::boolean),
        ca_certificate: given.has("ca_certificate").then(|| given.optional("ca_certificate", ca_certificate)),
        redact_conf: given.if_present("redact_conf", secret_keys),
        history_days: given.if_present("history_days", body::integer(ConnectorConfig::HISTORY_DAYS)),
        max_requests_in_flight: given
            .if_present("max_requests_in_flight", body::integer(ConnectorConfig::MAX_REQUESTS_IN_FLIGHT)),
        max_requests_per_second: given
            .if_present("max_requests_per_second", body::integer(1..=quotas.max_requests_per_second.into()))
            .or(is_new.then(|| quotas.default_requests_per_second())),
        schedule: given
            .has("schedule")
            .then(|| given.optional("schedule", |value| schedule(value, quotas.min_poll_interval))),
    };
    given.deny_unknown();
    fields.merge(given);
    Some(ConfigChange::Airflow(patch))
}

/// Reads a base URL, which is stored as it was given.
fn base_url(value: Value, network: &NetworkPolicy) -> Result<String, ValueError> {
    url(value, |url| check_base_url(url, network)).map(|(text, _)| text)
}

fn schedule(value: Value, min_interval: u32) -> Result<String, ValueError> {
    let line = body::text_of(1..=200)(value)?;
    check_schedule(&line, Utc::now(), min_interval)
        .map_err(|message| ValueError::new("value_error.cron", message))?;
    Ok(line)
}

fn ca_certificate(value: Value) -> Result<String, ValueError> {
    let pem = body::text_of(1..=ConnectorConfig::MAX_CA_CERTIFICATE)(value)?;
    check_ca_certificate(&pem).map_err(|message| ValueError::new("value_error.certificate", message))?;
    Ok(pem)
}

fn secret_keys(value: Value) -> Result<SecretKeys, ValueError> {
    let Value::Array(patterns) = value else {
        return Err(ValueError::new("type_error.list", "value is not a valid list"));
    };
    if patterns.len() > SecretKeys::MAX {
        let message = format!("ensure this value has at most {} items", SecretKeys::MAX);
        return Err(ValueError::new("value_error.list.max_items", message));
    }
    let patterns = patterns.into_iter().map(|pattern| body::text_of(1..=100)(pattern));
    patterns.collect::<Result<_, _>>().map(SecretKeys)
}
