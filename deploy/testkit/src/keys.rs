//! Sealing keys of tests, named by letters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use platform::secrets::{Keyring, SealingConfig};

/// The setting with one sealing key a letter: 32 times the letter, in base64. The first key seals.
pub fn sealing_keys(letters: &str) -> String {
    let keys: Vec<_> = letters.bytes().map(|letter| STANDARD.encode([letter; 32])).collect();
    keys.join(",")
}

/// The keys of [`sealing_keys`], ready for use.
pub fn keyring(letters: &str) -> Keyring {
    Keyring::new(&SealingConfig { sealing_keys: sealing_keys(letters).into() }).unwrap()
}
