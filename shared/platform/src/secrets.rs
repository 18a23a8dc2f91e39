//! Secrets at rest: sealed with XChaCha20-Poly1305. The first key of a list seals; all keys open.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use clap::Args;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};

const NONCE_BYTES: usize = 24;

/// The sealing keys, as settings.
#[derive(Args, Clone, Debug)]
pub struct SealingConfig {
    /// Keys that encrypt credentials at rest: 32 random bytes in base64 each, separated by commas; the first
    /// key encrypts, all keys decrypt
    #[arg(long, env = "ORCHESTRATION_SEALING_KEYS", hide_env_values = true)]
    pub sealing_keys: SecretString,
}

/// The sealing keys, ready for use.
#[derive(Clone)]
pub struct Keyring {
    ciphers: Vec<XChaCha20Poly1305>,
}

/// A key or a sealed value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "ORCHESTRATION_SEALING_KEYS must be keys of 32 bytes in base64, separated by commas; \
         `openssl rand -base64 32` makes one"
    )]
    BadKey,
    #[error(
        "the stored credentials open with none of the sealing keys; add the key they were sealed with, or \
         enter them again"
    )]
    Unopenable,
    #[error("the credentials could not be sealed")]
    Unsealable,
}

impl Keyring {
    /// Decodes the keys.
    ///
    /// # Errors
    /// When a key is not 32 bytes in base64.
    pub fn new(config: &SealingConfig) -> Result<Self, SecretError> {
        let ciphers = config
            .sealing_keys
            .expose_secret()
            .split(',')
            .map(|key| {
                let bytes = STANDARD.decode(key.trim()).map_err(|_| SecretError::BadKey)?;
                XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SecretError::BadKey)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { ciphers })
    }

    /// Seals a value. `aad` is the additional authenticated data: table, row and column, so that the sealed
    /// value cannot be moved elsewhere.
    ///
    /// # Errors
    /// When there is no key.
    pub fn seal(&self, aad: &str, secret: &[u8]) -> Result<Vec<u8>, SecretError> {
        let cipher = self.ciphers.first().ok_or(SecretError::Unsealable)?;
        let mut sealed = vec![0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut sealed);
        let nonce = XNonce::try_from(sealed.as_slice()).map_err(|_| SecretError::Unsealable)?;
        let payload = Payload { msg: secret, aad: aad.as_bytes() };
        sealed.extend(cipher.encrypt(&nonce, payload).map_err(|_| SecretError::Unsealable)?);
        Ok(sealed)
    }

    /// Seals a value again with the first key. None when the first key sealed it already.
    ///
    /// # Errors
    /// When none of the keys opens it.
    pub fn reseal(&self, aad: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SecretError> {
        let first = Self { ciphers: self.ciphers.iter().take(1).cloned().collect() };
        match first.open(aad, sealed) {
            Ok(_) => Ok(None),
            Err(_) => self.seal(aad, &self.open(aad, sealed)?).map(Some),
        }
    }

    /// Opens a sealed value.
    ///
    /// # Errors
    /// When none of the keys opens it, or it was sealed with other additional data.
    pub fn open(&self, aad: &str, sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
        let (nonce, secret) = sealed.split_at_checked(NONCE_BYTES).ok_or(SecretError::Unopenable)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SecretError::Unopenable)?;
        self.ciphers
            .iter()
            .find_map(|cipher| cipher.decrypt(&nonce, Payload { msg: secret, aad: aad.as_bytes() }).ok())
            .ok_or(SecretError::Unopenable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(keys: &[[u8; 32]]) -> Keyring {
        let keys: Vec<_> = keys.iter().map(|key| STANDARD.encode(key)).collect();
        Keyring::new(&SealingConfig { sealing_keys: keys.join(",").into() }).unwrap()
    }

    #[test]
    fn a_value_opens_with_its_own_aad_only() {
        let keys = keyring(&[[1; 32]]);
        let sealed = keys.seal("connectors/1", b"hunter2").unwrap();
        assert_eq!(keys.open("connectors/1", &sealed).unwrap(), b"hunter2");
        assert_eq!(keys.open("connectors/2", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn an_old_key_opens_after_a_new_key_was_prepended() {
        let sealed = keyring(&[[1; 32]]).seal("here", b"hunter2").unwrap();
        assert_eq!(keyring(&[[2; 32], [1; 32]]).open("here", &sealed).unwrap(), b"hunter2");
        assert_eq!(keyring(&[[2; 32]]).open("here", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn resealing_uses_the_first_key_and_happens_once() {
        let sealed = keyring(&[[1; 32]]).seal("here", b"hunter2").unwrap();
        let both = keyring(&[[2; 32], [1; 32]]);
        let resealed = both.reseal("here", &sealed).unwrap().expect("sealed under the old key");
        assert_eq!(keyring(&[[2; 32]]).open("here", &resealed).unwrap(), b"hunter2");
        assert_eq!(both.reseal("here", &resealed), Ok(None));
        assert_eq!(keyring(&[[3; 32]]).reseal("here", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn a_short_key_is_rejected() {
        let config = SealingConfig { sealing_keys: STANDARD.encode([1; 31]).into() };
        assert_eq!(Keyring::new(&config).err(), Some(SecretError::BadKey));
    }
}
