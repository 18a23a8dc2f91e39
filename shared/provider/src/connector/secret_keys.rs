//! The keys of a run's `conf` whose values are secret.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

const REPLACEMENT: &str = r#""***""#;

/// Patterns of keys whose values are replaced in the `conf` of runs. `*` matches any characters; case, `_`
/// and `-` do not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretKeys(pub Vec<String>);

impl Default for SecretKeys {
    fn default() -> Self {
        let patterns = [
            "*password*",
            "*passwd*",
            "*secret*",
            "*token*",
            "*api_key*",
            "*access_key*",
            "*private_key*",
            "*credential*",
        ];
        Self(patterns.map(str::to_owned).to_vec())
    }
}

impl SecretKeys {
    /// The maximum number of patterns.
    pub const MAX: usize = 50;

    /// Replaces the values of matching keys in a JSON text, however deep they are nested; none if there is no
    /// such key. A large text without one is not copied.
    pub fn redact(&self, json: &str) -> Option<String> {
        let patterns: Vec<String> = self.0.iter().map(|pattern| simplified(pattern)).collect();
        if !has_secret(json, &patterns) {
            return None;
        }
        let mut redacted = String::with_capacity(json.len());
        push_redacted(json, &patterns, &mut redacted);
        Some(redacted)
    }
}

/// Fields of an object or items of an array, each value as its text: a large text costs no tree of values.
type JsonParts<'a> = Vec<(Option<String>, &'a RawValue)>;

/// The parts of an object or an array; none for any other value.
fn parts(json: &str) -> Option<JsonParts<'_>> {
    let parts = match json.as_bytes().first()? {
        b'{' => serde_json::from_str(json).map(|JsonFields(fields)| fields),
        b'[' => serde_json::from_str(json)
            .map(|items: Vec<&RawValue>| items.into_iter().map(|item| (None, item)).collect()),
        _ => return None,
    };
    parts.ok()
}

fn has_secret(json: &str, patterns: &[String]) -> bool {
    parts(json).into_iter().flatten().any(|(key, value)| {
        key.is_some_and(|key| is_secret(&key, patterns)) || has_secret(value.get(), patterns)
    })
}

fn push_redacted(json: &str, patterns: &[String], redacted: &mut String) {
    let Some(parts) = parts(json) else { return redacted.push_str(json) };
    let (open, close) = if json.starts_with('{') { ('{', '}') } else { ('[', ']') };
    redacted.push(open);
    for (index, (key, value)) in parts.into_iter().enumerate() {
        if index > 0 {
            redacted.push(',');
        }
        let is_secret = key.as_deref().is_some_and(|key| is_secret(key, patterns));
        if let Some(key) = key {
            redacted.push_str(&Value::String(key).to_string());
            redacted.push(':');
        }
        if is_secret {
            redacted.push_str(REPLACEMENT);
        } else {
            push_redacted(value.get(), patterns, redacted);
        }
    }
    redacted.push(close);
}

fn is_secret(key: &str, patterns: &[String]) -> bool {
    let key = simplified(key);
    patterns.iter().any(|pattern| matches(&key, pattern))
}

/// The fields of an object in their order, each value as its text.
struct JsonFields<'a>(JsonParts<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawFieldsVisitor;

        impl<'de> Visitor<'de> for RawFieldsVisitor {
            type Value = JsonParts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.push((Some(key), value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(RawFieldsVisitor).map(JsonFields)
    }
}

fn simplified(text: &str) -> String {
    text.to_lowercase().replace(['_', '-'], "")
}

/// Whether the whole key matches the pattern.
fn matches(key: &str, pattern: &str) -> bool {
    let Some((start, others)) = pattern.split_once('*') else { return key == pattern };
    let (middle, end) = others.rsplit_once('*').unwrap_or(("", others));
    let Some(mut rest) = key.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) else {
        return false;
    };
    middle.split('*').all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_keys_are_replaced_at_any_depth() {
        let keys = SecretKeys::default();
        let conf = r#"{"table": "sales", "db_password":"canary", "apiKey": "canary", "API-KEY": ["canary"],
            "n": 12345678901234567890123, "partition_key": "day",
            "steps": [{"auth": {"To\u006ben": {"value": "canary"}}, "rows": 3}, 1]}"#;
        assert_eq!(
            keys.redact(conf).unwrap(),
            concat!(
                r#"{"table":"sales","db_password":"***","apiKey":"***","API-KEY":"***","#,
                r#""n":12345678901234567890123,"partition_key":"day","#,
                r#""steps":[{"auth":{"Token":"***"},"rows":3},1]}"#
            )
        );
        for unchanged in [r#"{"a": [1, {"b": "password"}]}"#, "[]", "null", r#""secret""#, ""] {
            assert_eq!(keys.redact(unchanged), None, "{unchanged}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_key() {
        for (pattern, key, expected) in [
            ("pin", "PIN", true),
            ("pin", "pinned", false),
            ("pin*", "pinned", true),
            ("*pin", "spin", true),
            ("*pin", "spins", false),
            ("a*b*c", "a-x-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*", "anything", true),
            ("*x*y*", "yx", false),
        ] {
            assert_eq!(matches(&simplified(key), &simplified(pattern)), expected, "{pattern} {key}");
        }
        assert_eq!(SecretKeys(Vec::new()).redact(r#"{"password": 1}"#), None);
    }
}
