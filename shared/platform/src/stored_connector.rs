//! A connector's settings as its row holds them, read back to speak to the provider.

use serde_json::Value;

use crate::secrets::{Keyring, SecretError};
use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Secrets, credentials_aad};

/// Why stored settings are of no use, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoredConnectorError {
    #[error("The connector's configuration cannot be read ({0}); enter it again.")]
    Config(serde_json::Error),
    #[error("The connector's credentials cannot be read: {0}.")]
    Sealed(#[from] SecretError),
    #[error("The connector's credentials cannot be read; enter them again.")]
    Credentials,
}

/// Reads the configuration of a row, and opens the credentials beside it; there are none where nothing is sealed.
///
/// # Errors
/// When the configuration makes no sense, or the credentials open with none of the keys.
pub fn open_stored_connector(
    connector: ConnectorId,
    config: Value,
    sealed: Option<&[u8]>,
    keyring: &Keyring,
) -> Result<(ConnectorConfig, Secrets), StoredConnectorError> {
    let config = serde_json::from_value(config).map_err(StoredConnectorError::Config)?;
    let Some(sealed) = sealed else { return Ok((config, Secrets::default())) };
    let opened = keyring.open(&credentials_aad(connector), sealed)?;
    // What serde says of it would tell what it holds.
    let secrets = serde_json::from_slice(&opened).map_err(|_| StoredConnectorError::Credentials)?;
    Ok((config, secrets))
}
