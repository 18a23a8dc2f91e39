//! The text of a JSON value that is stored and sent as it is, without being decoded: its numbers keep their
//! digits, and it costs no memory beyond its size.

use contract::events::{MAX_CONF_NESTING, MAX_CONF_VALUES};

use super::value::ValueError;

/// The maximum length of a number. Python and PostgreSQL both read numbers of this length.
const MAX_NUMBER_LENGTH: usize = 1000;
/// The smallest exponent of a number.
const MIN_EXPONENT: i64 = -1000;

const HIGH_SURROGATES: std::ops::Range<u16> = 0xD800..0xDC00;
const LOW_SURROGATES: std::ops::Range<u16> = 0xDC00..0xE000;

/// Checks that PostgreSQL can store a valid JSON text and that an event can carry it: without the character
/// NUL and halves of surrogate pairs, neither nested too deep nor with too many values, and without numbers
/// that are out of range.
pub(super) fn check_storable(json: &str) -> Result<(), ValueError> {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut values) = (0, 0_usize, 1);
    while let Some(byte) = bytes.get(at) {
        values += usize::from(matches!(byte, b'{' | b'[' | b','));
        if values > MAX_CONF_VALUES {
            let message = format!("ensure this value has at most {MAX_CONF_VALUES} values");
            return Err(ValueError::new("value_error.values", message));
        }
        match byte {
            b'"' => {
                at = end_of_string(bytes, at + 1)?;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                at = end_of_number(json, at)?;
                continue;
            }
            b'{' | b'[' if depth == MAX_CONF_NESTING => {
                let message = format!("ensure this value is nested at most {MAX_CONF_NESTING} levels deep");
                return Err(ValueError::new("value_error.nesting", message));
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Returns the position after a string whose content starts here.
fn end_of_string(bytes: &[u8], start: usize) -> Result<usize, ValueError> {
    let mut at = start;
    loop {
        match bytes.get(at) {
            None | Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = end_of_escape(bytes, at)?,
            Some(_) => at += 1,
        }
    }
}

fn end_of_escape(bytes: &[u8], at: usize) -> Result<usize, ValueError> {
    match code_unit(bytes, at) {
        None => Ok(at + 2),
        Some(0) => Err(ValueError::nul()),
        Some(unit) if HIGH_SURROGATES.contains(&unit) => match code_unit(bytes, at + 6) {
            Some(low) if LOW_SURROGATES.contains(&low) => Ok(at + 12),
            _ => Err(ValueError::not_utf8()),
        },
        Some(unit) if LOW_SURROGATES.contains(&unit) => Err(ValueError::not_utf8()),
        Some(_) => Ok(at + 6),
    }
}

/// The code unit of the escape `\uXXXX` at this position, if there is one.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Returns the position after the number that starts here.
fn end_of_number(json: &str, start: usize) -> Result<usize, ValueError> {
    let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let number = &json[start..];
    let length = number.bytes().position(|byte| !is_part(byte)).unwrap_or(number.len());
    let number = &number[..length];
    let exponent = number.split_once(['e', 'E']).map_or(Ok(0), |(_, exponent)| exponent.parse::<i64>());
    // A number that is infinite as a floating-point number is so in the provider, too.
    let is_in_range = length <= MAX_NUMBER_LENGTH
        && exponent.is_ok_and(|exponent| exponent >= MIN_EXPONENT)
        && number.parse::<f64>().is_ok_and(f64::is_finite);
    if is_in_range {
        return Ok(start + length);
    }
    Err(ValueError::new("value_error.number", "ensure every number is in the range of a double"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(json: &str) -> Option<&'static str> {
        // What is checked here is valid JSON otherwise.
        serde_json::from_str::<&serde_json::value::RawValue>(json).unwrap();
        check_storable(json).err().map(|error| error.at(&[]).kind)
    }

    #[test]
    fn only_what_cannot_be_stored_is_rejected() {
        for json in [
            r#"{"a": [1, -2.5e-7, 12345678901234567890123, 1e308], "b": "\\u0000 \" 1e999 \ud83d\ude00"}"#,
            r#""[[[{""#,
            "null",
        ] {
            assert_eq!(kind(json), None, "{json}");
        }
        for (json, expected) in [
            (r#"{"a": ["\u0000"]}"#, "value_error.str.regex"),
            (r#"{"\u0000": 1}"#, "value_error.str.regex"),
            (r#""\ud800""#, "value_error.unicode"),
            (r#""\ud800\ud800""#, "value_error.unicode"),
            (r#""\udc00""#, "value_error.unicode"),
            ("[1e309]", "value_error.number"),
            ("-1E+400", "value_error.number"),
            ("1e-1001", "value_error.number"),
            ("1e99999999999999999999", "value_error.number"),
        ] {
            assert_eq!(kind(json), Some(expected), "{json}");
        }
        assert_eq!(kind(&"9".repeat(309)), Some("value_error.number"));
        assert_eq!(kind(&format!("0.{}", "1".repeat(1000))), Some("value_error.number"));
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(kind(&nested(MAX_CONF_NESTING)), None);
        assert_eq!(kind(&nested(MAX_CONF_NESTING + 1)), Some("value_error.nesting"));
        assert!(check_storable(&nested(400_000)).is_err());
        let numbers = |count: usize| format!("[0{}]", ",0".repeat(count - 1));
        assert_eq!(kind(&numbers(MAX_CONF_VALUES - 1)), None);
        assert_eq!(kind(&numbers(MAX_CONF_VALUES)), Some("value_error.values"));
    }
}
