//! Redaction of the provider's texts before they are stored and shown: each is one short line, without the
//! connector's own secrets, which a proxy may send back.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::grant;
use crate::connector::{Credentials, Secrets};
use crate::error::{ProviderError, one_line, shortened};

/// The maximum number of tokens of logins that are kept, because requests with them may be in flight.
const MAX_TOKENS: usize = 4;
/// A shorter secret is replaced only as a whole word, because other words may contain it.
const MIN_LENGTH_IN_WORDS: usize = 6;
const REPLACEMENT: &str = "…";

/// The secrets of one connector.
pub(super) struct Redaction {
    secrets: Vec<SecretString>,
    tokens: Mutex<Vec<SecretString>>,
}

impl Redaction {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let mut known: Vec<SecretString> =
            secrets.headers.values().flat_map(|value| forms(value.expose_secret())).collect();
        match &secrets.credentials {
            // Private keys are never sent, so that no provider can repeat them.
            Credentials::None | Credentials::ServiceAccount(_) => {}
            Credentials::Basic { username, password } => {
                let password = password.expose_secret();
                known.extend(forms(password));
                known.push(STANDARD.encode(format!("{username}:{password}")).into());
            }
            Credentials::Token { token } => known.extend(forms(token.expose_secret())),
            Credentials::Oauth2(client) => {
                if let Some(secret) = client.client_secret.as_ref().map(ExposeSecret::expose_secret) {
                    known.extend(forms(secret));
                    known.push(grant::basic(&client.client_id, secret).into());
                }
            }
        }
        known.retain(|secret| !secret.expose_secret().is_empty());
        // A longer one may contain a shorter one.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets: known, tokens: Mutex::default() }
    }

    /// Remembers the token of a login.
    pub(super) fn add_token(&self, token: &SecretString) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.remove(0);
        }
        tokens.push(token.clone());
    }

    /// Redacts the provider's texts in the error.
    pub(super) fn clean_error(&self, error: ProviderError) -> ProviderError {
        error.map_texts(|text| self.clean(text))
    }

    /// Redacts and shortens a text. Secrets are replaced first, because the cut may split a secret.
    pub(super) fn clean(&self, text: &str) -> String {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let text = one_line(text);
        let secrets = tokens.iter().chain(&self.secrets).map(ExposeSecret::expose_secret);
        shortened(secrets.fold(text, |text, secret| replace(&text, secret)))
    }
}

/// The forms of a secret in a text, except for backslashes: unchanged, and encoded for URLs.
fn forms(secret: &str) -> Vec<SecretString> {
    let secret = one_line(secret);
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![without_backslashes(&secret), encoded.replace('+', "%20"), encoded];
    forms.sort();
    forms.dedup();
    forms.into_iter().map(SecretString::from).collect()
}

/// JSON in JSON, and the debug format, write any number of them before some characters.
fn without_backslashes(text: &str) -> String {
    text.replace('\\', "")
}

/// Replaces a secret that has no backslashes, wherever the text has it with or without them.
fn replace(text: &str, secret: &str) -> String {
    let plain = without_backslashes(text);
    if !plain.contains(secret) {
        return text.to_owned();
    }
    // Where each byte of `plain` is in the text.
    let places: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| *byte != b'\\').map(|(place, _)| place).collect();
    let is_part = |neighbour: Option<char>| {
        secret.len() < MIN_LENGTH_IN_WORDS && neighbour.is_some_and(char::is_alphanumeric)
    };
    let mut replaced = String::with_capacity(text.len());
    let mut kept = 0;
    for (start, _) in plain.match_indices(secret) {
        let end = start + secret.len();
        if !is_part(plain[..start].chars().next_back()) && !is_part(plain[end..].chars().next()) {
            replaced.push_str(&text[kept..places[start]]);
            replaced.push_str(REPLACEMENT);
            kept = places[end - 1] + 1;
        }
    }
    replaced + &text[kept..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(password: &str, text: &str) -> String {
        let credentials = Credentials::Basic { username: "ada".to_owned(), password: password.into() };
        Redaction::new(&credentials.into()).clean(text)
    }

    #[test]
    fn a_secret_is_replaced_in_every_form() {
        let password = r#"p"ä b/%"#;
        for form in
            [r#"p"ä b/%"#, r#"p\"ä b/%"#, "p%22%C3%A4%20b%2F%25", "p%22%C3%A4+b%2F%25", "YWRhOnAiw6QgYi8l"]
        {
            assert_eq!(cleaned(password, &format!("got {form}, why?")), "got …, why?");
        }
    }

    #[test]
    fn a_short_secret_is_replaced_as_a_word_only() {
        assert_eq!(cleaned("an", "an angle, another \"an\""), "… angle, another \"…\"");
        assert_eq!(cleaned("", "nothing to hide"), "nothing to hide");
    }

    #[test]
    fn secrets_are_replaced_before_the_text_is_cut() {
        let text = format!("{} hunter2-secret", "x".repeat(295));
        assert_eq!(cleaned("hunter2-secret", &text), format!("{} …", "x".repeat(295)));
        assert_eq!(cleaned("p", &"ä ".repeat(1_000)).chars().count(), 301);
    }
}
