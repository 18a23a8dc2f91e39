//! The checks of an ID token (OpenID Connect Core 1.0, section 3.1.3.7). The signature, the issuer and the
//! audience are checked by `jsonwebtoken`; its check of times does not read numbers where `serde_json` keeps
//! their digits, as it does in this program.

use chrono::Utc;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::OidcError;
use super::config::OidcSettings;

/// How far the clocks of the provider and of this machine may differ, in seconds.
const LEEWAY: f64 = 60.0;
/// Only the provider can sign with these: a client's secret would be enough for HS256.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Checks a token and returns its claims.
pub(super) fn verify(
    token: &str,
    keys: &[Jwk],
    settings: &OidcSettings,
    nonce: &str,
) -> Result<Value, OidcError> {
    let invalid = |why: &str| OidcError::InvalidToken(why.to_owned());
    let header = decode_header(token).map_err(|error| invalid(&error.to_string()))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(OidcError::InvalidToken(format!("it is signed with {:?}", header.alg)));
    }
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "sub"]);
    validation.validate_exp = false;
    let candidates = keys.iter().filter(|key| is_candidate(key, header.kid.as_deref()));
    let mut failure = invalid("none of the provider's keys fits");
    for key in candidates {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match decode::<Value>(token, &key, &validation) {
            Ok(token) => return check(token.claims, settings, nonce, Utc::now().timestamp() as f64),
            Err(error) => failure = invalid(&error.to_string()),
        }
    }
    Err(failure)
}

fn is_candidate(key: &Jwk, id: Option<&str>) -> bool {
    let has_id = id.is_none() || key.common.key_id.as_deref() == id;
    has_id && key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
}

/// Checks the claims that say for which sign-in the token is, and when it is valid.
fn check(claims: Value, settings: &OidcSettings, nonce: &str, now: f64) -> Result<Value, OidcError> {
    let time = |name: &str| claims[name].as_f64();
    let is_for_several = claims["aud"].as_array().is_some_and(|audiences| audiences.len() > 1);
    let is_authorized = match &claims["azp"] {
        Value::Null => !is_for_several,
        party => *party == settings.client_id.as_str(),
    };
    let fault = if claims["nonce"] != nonce {
        "its nonce is of another sign-in"
    } else if !is_authorized {
        "it is for another client"
    } else if time("exp").is_none_or(|end| end + LEEWAY <= now) {
        "it has expired"
    } else if time("iat").is_none_or(|issued| issued - LEEWAY > now) {
        "it is of the future"
    } else if time("nbf").is_some_and(|start| start - LEEWAY > now) {
        "it is not valid yet"
    } else {
        return Ok(claims);
    };
    Err(OidcError::InvalidToken(fault.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> OidcSettings {
        OidcSettings {
            issuer: "https://login.example".to_owned(),
            client_id: "console".to_owned(),
            client_secret: None,
            name: String::new(),
            scopes: String::new(),
            groups_claim: "groups".to_owned(),
            trust_email: false,
        }
    }

    fn fault(changes: Value) -> Option<String> {
        let mut claims = json!({"aud": "console", "nonce": "n", "exp": 1_100, "iat": 1_000});
        changes.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        check(claims, &settings(), "n", 1_000.0).err().map(|error| error.to_string())
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        for good in [json!({}), json!({"exp": 941}), json!({"iat": 1_060, "nbf": 1_060}), json!({"exp": 1e9})]
        {
            assert_eq!(fault(good.clone()), None, "{good}");
        }
        for (bad, word) in [
            (json!({"exp": 940}), "expired"),
            (json!({"exp": null}), "expired"),
            (json!({"iat": 1_061}), "future"),
            (json!({"iat": null}), "future"),
            (json!({"nbf": 1_061}), "yet"),
        ] {
            assert!(fault(bad.clone()).unwrap().contains(word), "{bad}");
        }
    }

    #[test]
    fn a_token_is_for_one_sign_in_and_for_this_client() {
        assert_eq!(fault(json!({"azp": "console", "aud": ["console", "other"]})), None);
        for (bad, word) in [
            (json!({"nonce": "m"}), "nonce"),
            (json!({"nonce": null}), "nonce"),
            (json!({"azp": "other"}), "another client"),
            (json!({"aud": ["console", "other"]}), "another client"),
        ] {
            assert!(fault(bad.clone()).unwrap().contains(word), "{bad}");
        }
    }

    #[test]
    fn a_token_that_the_provider_has_not_signed_is_refused() {
        let unsigned = "eyJhbGciOiJub25lIn0.e30.";
        assert!(verify(unsigned, &[], &settings(), "n").is_err());
        // HS256, for which the client's secret would suffice.
        let symmetric = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        let error = verify(symmetric, &[], &settings(), "n").unwrap_err();
        assert!(error.to_string().contains("HS256"), "{error}");
    }
}
