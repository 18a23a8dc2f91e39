//! API keys: `qk_`, a public prefix that identifies the key, and 256 random bits. Only the SHA-256 of a key
//! is stored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};

/// What every key starts with.
pub const SCHEME: &str = "qk_";

/// Longer than every key.
const MAX_LENGTH: usize = 100;

/// Whether this can be a key, so that it is worth a look-up.
pub fn is_well_formed(key: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    key.len() <= MAX_LENGTH && key.strip_prefix(SCHEME).is_some_and(|key| key.bytes().all(is_part))
}

/// A newly generated key.
pub struct GeneratedKey {
    /// The public part, by which people recognize the key in a list.
    pub prefix: String,
    /// The whole key, prefix included.
    pub key: String,
}

impl GeneratedKey {
    /// Generates a key from 48 bits of prefix and 256 bits of secret.
    pub fn random() -> Self {
        let mut bits = [0; 6 + 32];
        rand::rng().fill_bytes(&mut bits);
        let (prefix, secret) = bits.split_at(6);
        let prefix = format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(prefix));
        let key = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(secret));
        Self { prefix, key }
    }
}

/// Returns the digest under which the database stores a key.
pub fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}
