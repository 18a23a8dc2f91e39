//! Decodes a connector's configuration and credentials from its row.

use serde_json::Value;

use crate::secrets::{Keyring, SecretError};
use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Secrets, credentials_aad};

/// A row of a connector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredConnectorError {
    #[error("The connector's configuration cannot be read ({0}); enter it again.")]
    Config(serde_json::Error),
    #[error("The connector's credentials cannot be read: {0}.")]
    Sealed(#[from] SecretError),
    #[error("The connector's credentials cannot be read; enter them again.")]
    Credentials,
}

/// Parses the configuration and opens the credentials. Without sealed credentials the connector has none.
///
/// # Errors
/// When the configuration is invalid, or none of the keys opens the credentials.
pub fn open_stored_connector(
    connector: ConnectorId,
    config: Value,
    sealed: Option<&[u8]>,
    keyring: &Keyring,
) -> Result<(ConnectorConfig, Secrets), StoredConnectorError> {
    let config = serde_json::from_value(config).map_err(StoredConnectorError::Config)?;
    let Some(sealed) = sealed else { return Ok((config, Secrets::default())) };
    let opened = keyring.open(&credentials_aad(connector), sealed)?;
    // The error of serde would quote the secret.
    let secrets = serde_json::from_slice(&opened).map_err(|_| StoredConnectorError::Credentials)?;
    Ok((config, secrets))
}
