//! Secrets at rest: sealed with XChaCha20-Poly1305 under a list of keys, of which the first seals and all open.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use clap::Args;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};

const NONCE_BYTES: usize = 24;

/// Where the sealing keys come from.
#[derive(Args, Clone, Debug)]
pub struct SealingConfig {
    /// Keys that seal credentials at rest: 32 random bytes in base64 each, separated by commas; the first seals, all open
    #[arg(long, env = "ORCHESTRATION_SEALING_KEYS", hide_env_values = true)]
    pub sealing_keys: SecretString,
}

/// The keys, ready for use.
#[derive(Clone)]
pub struct Keyring {
    ciphers: Vec<XChaCha20Poly1305>,
}

/// What can be wrong with a key or a sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "ORCHESTRATION_SEALING_KEYS must be keys of 32 bytes in base64, separated by commas; `openssl rand -base64 32` makes one"
    )]
    BadKey,
    #[error(
        "the stored credentials open with none of the sealing keys; add the key they were sealed with, or enter them again"
    )]
    Unopenable,
    #[error("the credentials could not be sealed")]
    Unsealable,
}

impl Keyring {
    /// Reads the keys.
    ///
    /// # Errors
    /// When one is not 32 bytes in base64, or there is none.
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

    /// Seals a value to its place (table, row and column), so that it opens nowhere else.
    ///
    /// # Errors
    /// When there is no key.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, SecretError> {
        let cipher = self.ciphers.first().ok_or(SecretError::Unsealable)?;
        let mut sealed = vec![0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut sealed);
        let nonce = XNonce::try_from(sealed.as_slice()).map_err(|_| SecretError::Unsealable)?;
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        sealed.extend(cipher.encrypt(&nonce, payload).map_err(|_| SecretError::Unsealable)?);
        Ok(sealed)
    }

    /// Seals under the first key what another key sealed; none when the first key did.
    ///
    /// # Errors
    /// When none of the keys fits.
    pub fn reseal(&self, place: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SecretError> {
        let first = Self { ciphers: self.ciphers.iter().take(1).cloned().collect() };
        match first.open(place, sealed) {
            Ok(_) => Ok(None),
            Err(_) => self.seal(place, &self.open(place, sealed)?).map(Some),
        }
    }

    /// Opens what was sealed to this place.
    ///
    /// # Errors
    /// When none of the keys fits, or it was sealed for another place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
        let (nonce, secret) = sealed.split_at_checked(NONCE_BYTES).ok_or(SecretError::Unopenable)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SecretError::Unopenable)?;
        self.ciphers
            .iter()
            .find_map(|cipher| cipher.decrypt(&nonce, Payload { msg: secret, aad: place.as_bytes() }).ok())
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
    fn opens_in_its_place_only() {
        let keys = keyring(&[[1; 32]]);
        let sealed = keys.seal("connectors/1", b"hunter2").unwrap();
        assert_eq!(keys.open("connectors/1", &sealed).unwrap(), b"hunter2");
        assert_eq!(keys.open("connectors/2", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn an_old_key_still_opens_after_a_new_one_was_put_first() {
        let sealed = keyring(&[[1; 32]]).seal("here", b"hunter2").unwrap();
        assert_eq!(keyring(&[[2; 32], [1; 32]]).open("here", &sealed).unwrap(), b"hunter2");
        assert_eq!(keyring(&[[2; 32]]).open("here", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn resealing_makes_the_old_key_needless_and_is_done_once() {
        let sealed = keyring(&[[1; 32]]).seal("here", b"hunter2").unwrap();
        let both = keyring(&[[2; 32], [1; 32]]);
        let resealed = both.reseal("here", &sealed).unwrap().expect("sealed under the old key");
        assert_eq!(keyring(&[[2; 32]]).open("here", &resealed).unwrap(), b"hunter2");
        assert_eq!(both.reseal("here", &resealed), Ok(None));
        assert_eq!(keyring(&[[3; 32]]).reseal("here", &sealed), Err(SecretError::Unopenable));
    }

    #[test]
    fn refuses_a_short_key() {
        let config = SealingConfig { sealing_keys: STANDARD.encode([1; 31]).into() };
        assert_eq!(Keyring::new(&config).err(), Some(SecretError::BadKey));
    }
}
