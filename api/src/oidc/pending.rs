//! A sign-in between the way to the provider and the way back. The browser keeps it, sealed, so that nothing
//! is stored for people who never come back.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use platform::secrets::Keyring;
use serde::{Deserialize, Serialize};

use crate::auth::sessions::new_secret;

/// How long people may take at the provider.
pub const PENDING_TTL: Duration = Duration::from_secs(600);
/// The place that a sealed value is bound to.
const AAD: &str = "session/oidc";
/// The maximum number of characters of a path.
const MAX_PATH_LENGTH: usize = 1_000;

/// What must agree when the browser comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PendingSignIn {
    pub state: String,
    pub nonce: String,
    /// The code verifier of PKCE.
    pub verifier: String,
    pub return_to: String,
    expires_at: i64,
}

impl PendingSignIn {
    /// Begins a sign-in after which the page at this path is shown, or the first page if this is no path.
    pub(super) fn new(return_to: &str) -> Self {
        let return_to = if is_local_path(return_to) { return_to } else { "/" };
        Self {
            state: new_secret(),
            nonce: new_secret(),
            verifier: new_secret(),
            return_to: return_to.to_owned(),
            expires_at: Utc::now().timestamp().saturating_add_unsigned(PENDING_TTL.as_secs()),
        }
    }

    pub(super) fn seal(&self, keyring: &Keyring) -> Option<String> {
        let sealed = keyring.seal(AAD, &serde_json::to_vec(self).ok()?).ok()?;
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a sealed sign-in; none if it is not ours or has expired.
    pub(super) fn open(keyring: &Keyring, sealed: &str) -> Option<Self> {
        let opened = keyring.open(AAD, &URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?;
        let pending: Self = serde_json::from_slice(&opened).ok()?;
        (pending.expires_at > Utc::now().timestamp()).then_some(pending)
    }
}

/// Whether this is a path of this service: browsers read `//` and `/\` as the start of a host.
fn is_local_path(path: &str) -> bool {
    let is_plain = path.len() <= MAX_PATH_LENGTH && path.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && path.starts_with('/') && !path.starts_with("//") && !path.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        let sealing_keys = base64::engine::general_purpose::STANDARD.encode([1; 32]).into();
        Keyring::new(&platform::secrets::SealingConfig { sealing_keys }).unwrap()
    }

    #[test]
    fn a_sealed_sign_in_opens_until_it_expires() {
        let mut pending = PendingSignIn::new("/s/finance?q=a");
        let opened = PendingSignIn::open(&keyring(), &pending.seal(&keyring()).unwrap()).unwrap();
        assert_eq!((&opened.state, opened.return_to.as_str()), (&pending.state, "/s/finance?q=a"));
        assert_ne!(pending.state, pending.nonce);
        pending.expires_at = Utc::now().timestamp();
        assert!(PendingSignIn::open(&keyring(), &pending.seal(&keyring()).unwrap()).is_none());
        assert!(PendingSignIn::open(&keyring(), "e30").is_none());
    }

    #[test]
    fn the_way_back_leads_to_pages_of_this_service_alone() {
        for elsewhere in ["", "s", "//e.example", "/\\e.example", "https://e.example", "/a\nb", "/é"] {
            assert_eq!(PendingSignIn::new(elsewhere).return_to, "/", "{elsewhere:?}");
        }
    }
}
