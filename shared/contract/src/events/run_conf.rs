//! The parameters of a run. They are kept as text, because a tree of them may take a hundred times as much
//! memory.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// No array or object of a decoded JSON text is nested deeper, as in common decoders.
const MAX_NESTING: usize = 127;

/// The parameters of a run as canonical JSON: without white space, and with the fields of objects in order.
/// Equal values have equal texts; numbers keep their digits. Clones share the text, which may be so large
/// that it is not copied into the `Arc`.
#[derive(Clone, Debug)]
pub struct RunConf(Arc<Box<RawValue>>);

impl RunConf {
    /// Returns the canonical JSON.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether there are none.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }
}

/// Reads any JSON text.
///
/// # Errors
/// When it is not JSON, or nested too deep.
impl FromStr for RunConf {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        let mut canonical = String::with_capacity(json.len());
        push_canonical(serde_json::from_str::<&RawValue>(json)?.get(), &mut canonical, 0)?;
        RawValue::from_string(canonical).map(|raw| Self(Arc::new(raw)))
    }
}

impl From<Value> for RunConf {
    fn from(value: Value) -> Self {
        value.to_string().parse().unwrap_or_default()
    }
}

/// `null`.
impl Default for RunConf {
    fn default() -> Self {
        Self(Arc::new(RawValue::NULL.to_owned()))
    }
}

impl PartialEq for RunConf {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Serialize for RunConf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for RunConf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        raw.get().parse().map_err(D::Error::custom)
    }
}

/// Adds the canonical form of a JSON text that has no white space around it.
fn push_canonical(json: &str, canonical: &mut String, nesting: usize) -> serde_json::Result<()> {
    if nesting > MAX_NESTING {
        return Err(serde_json::Error::custom("nested too deep"));
    }
    match json.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            push_items('{', '}', fields, canonical, |(name, value), canonical| {
                canonical.push_str(&serde_json::to_string(&name)?);
                canonical.push(':');
                push_canonical(value.get(), canonical, nesting + 1)
            })
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            push_items('[', ']', items, canonical, |item, canonical| {
                push_canonical(item.get(), canonical, nesting + 1)
            })
        }
        // Without escapes, there is only one way to write a text.
        Some(b'"') if json.contains('\\') => {
            let text: String = serde_json::from_str(json)?;
            canonical.push_str(&serde_json::to_string(&text)?);
            Ok(())
        }
        Some(b'-' | b'0'..=b'9') => {
            push_number(json, canonical);
            Ok(())
        }
        _ => {
            canonical.push_str(json);
            Ok(())
        }
    }
}

fn push_items<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    canonical: &mut String,
    push: impl Fn(T, &mut String) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    canonical.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            canonical.push(',');
        }
        push(item, canonical)?;
    }
    canonical.push(close);
    Ok(())
}

/// An exponent has a small letter and a sign.
fn push_number(number: &str, canonical: &mut String) {
    let Some((digits, exponent)) = number.split_once(['e', 'E']) else { return canonical.push_str(number) };
    canonical.push_str(digits);
    canonical.push('e');
    if !exponent.starts_with(['+', '-']) {
        canonical.push('+');
    }
    canonical.push_str(exponent);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_a_decoded_value() {
        for json in [
            "null",
            " { \"b\" : [ 1 , 2.50, -0, 1E5 , 1e-400 ] , \"a\" : { } }",
            r#"{"a":1,"a":{"z":"\u00e9\n\/\u0001","y":"é \"","\ud83d\ude00":true},"":[]}"#,
            r#"["\\", "", 12345678901234567890123, 0.10000000000000000000001, false]"#,
            r#""text""#,
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            let conf: RunConf = json.parse().unwrap();
            assert_eq!(conf.get(), value.to_string(), "{json}");
            assert_eq!(conf, RunConf::from(value), "{json}");
            assert_eq!(serde_json::from_str::<RunConf>(json).unwrap(), conf, "{json}");
            assert_eq!(serde_json::to_string(&conf).unwrap(), conf.get());
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(nested(MAX_NESTING).parse::<RunConf>().is_ok());
        for json in ["", "{", "{a:1}", r#"["\ud800"]"#, "[1] 2", &nested(100_000)] {
            assert!(json.parse::<RunConf>().is_err(), "{}", &json[..json.len().min(20)]);
        }
    }
}
