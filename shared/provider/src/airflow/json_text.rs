//! The text of JSON bodies, before it is decoded. Python writes what is no JSON (`NaN`), and JSON that holds
//! no text (halves of surrogate pairs); PostgreSQL stores neither these nor NUL.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Replaces characters that cannot be stored.
const REPLACEMENT: &str = "\\ufffd";

/// The maximum number of digits of a number. PostgreSQL stores 16,383 of them after the point.
const MAX_DIGITS: usize = 10_000;

/// Returns the body as JSON, with bytes that are no UTF-8 replaced, and `NaN` and the infinities as null.
/// Values may still be nested at any depth, and numbers and escapes may be out of range.
///
/// # Errors
/// The position of what is no JSON.
pub(super) fn json_text(body: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let text = without_nan(&text).ok_or(error)?;
            serde_json::from_str::<IgnoredAny>(&text)?;
            Ok(Cow::Owned(text))
        }
    }
}

/// Replaces `NaN` and the infinities with null. None if the text contains none of them.
fn without_nan(text: &str) -> Option<String> {
    const NOT_JSON: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
    let mut clean = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped, mut found) = (false, false, false);
    let mut remaining = text;
    while let Some(letter) = remaining.chars().next() {
        let word = NOT_JSON.iter().find(|word| !in_string && remaining.starts_with(**word));
        if let Some(word) = word {
            clean.push_str("null");
            remaining = &remaining[word.len()..];
            found = true;
            continue;
        }
        in_string ^= letter == '"' && !is_escaped;
        is_escaped = in_string && letter == '\\' && !is_escaped;
        clean.push(letter);
        remaining = &remaining[letter.len_utf8()..];
    }
    found.then_some(clean)
}

/// Replaces the escapes of NUL and of halves of surrogate pairs in a JSON text with U+FFFD; borrowed if there
/// are none.
pub(super) fn storable(json: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json[at..].find('\\') {
        let escape = at + found;
        let length = match code_unit(json, escape) {
            None => 2,
            Some(0xD800..0xDC00) if matches!(code_unit(json, escape + 6), Some(0xDC00..0xE000)) => 12,
            Some(0 | 0xD800..0xE000) => {
                clean.push_str(&json[copied..escape]);
                clean.push_str(REPLACEMENT);
                copied = escape + 6;
                6
            }
            Some(_) => 6,
        };
        at = escape + length;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    clean.push_str(&json[copied..]);
    Cow::Owned(clean)
}

/// The code unit of the escape `\uXXXX` at this position, if there is one.
fn code_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

/// How deep arrays and objects are nested in a JSON text: 0 for a text or a number.
pub(super) fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether a JSON text has more values than this. Decoded, each takes much more memory than its text.
pub(super) fn has_more_values(json: &str, max: usize) -> bool {
    // No value takes less than two bytes.
    json.len() > 2 * max && count_values(json) > max
}

/// The number of commas and opening brackets, which is at least that of the values.
fn count_values(json: &str) -> usize {
    let mut values = 1;
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

/// The size of a JSON text when its numbers are written without exponents, as PostgreSQL returns them. None
/// if one of them has too many digits.
pub(super) fn size_without_exponents(json: &str) -> Option<usize> {
    let mut size = json.len();
    let (mut in_string, mut is_escaped) = (false, false);
    let mut bytes = json.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => {
                let number = &json[at..];
                let end = number.find(|letter| !is_of_number(letter)).unwrap_or(number.len());
                size = size.checked_add(exponent_digits(&number[..end])?)?;
                if end > 1 {
                    bytes.nth(end - 2);
                }
            }
            _ => {}
        }
    }
    Some(size)
}

fn is_of_number(letter: char) -> bool {
    letter.is_ascii_digit() || "+-.eE".contains(letter)
}

/// The number of digits that replace the exponent of a number; none if the number has too many.
fn exponent_digits(number: &str) -> Option<usize> {
    let exponent = match number.split_once(['e', 'E']) {
        Some((_, exponent)) => exponent.parse::<i32>().ok()?.unsigned_abs() as usize,
        None => 0,
    };
    (number.len() + exponent <= MAX_DIGITS).then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_count_as_the_digits_that_they_stand_for() {
        for (json, expected) in [
            (r#"{"a":[1,-2.5e3,"1e9999999 \" 7e7"],"b":true}"#, Some(44 + 3)),
            ("1e400", Some(405)),
            ("[1E-400,10e+2]", Some(14 + 402)),
            ("7", Some(1)),
            ("1e99999", None),
            ("1e-99999999999999999999", None),
        ] {
            assert_eq!(size_without_exponents(json), expected, "{json}");
        }
        assert_eq!(size_without_exponents(&"9".repeat(10_000)), Some(10_000));
        assert_eq!(size_without_exponents(&"9".repeat(10_001)), None);
    }

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (json, expected) in [("7", 1), (r#""[,{""#, 1), (r#"[1,{"a\",":[2,3]}]"#, 6)] {
            assert_eq!(count_values(json), expected, "{json}");
        }
        let numbers = format!("[0{}]", ",0".repeat(99));
        assert!(has_more_values(&numbers, 100) && !has_more_values(&numbers, 101));
    }

    #[test]
    fn nul_and_halves_of_surrogate_pairs_are_replaced() {
        for (json, expected) in [
            (r#""plain \n \"quoted\" \\u0000""#, r#""plain \n \"quoted\" \\u0000""#),
            (r#""\u0041 \ud83d\ude00""#, r#""\u0041 \ud83d\ude00""#),
            (r#""a\u0000b\ud800""#, r#""a\ufffdb\ufffd""#),
            (r#""\ud800\ud800\udc00\udc00""#, r#""\ufffd\ud800\udc00\ufffd""#),
            (r#"{"\udfff":["\\\ud800x"]}"#, r#"{"\ufffd":["\\\ufffdx"]}"#),
        ] {
            let clean = storable(json);
            assert_eq!(clean, expected);
            assert_eq!(matches!(clean, Cow::Borrowed(_)), json == expected, "{json}");
            serde_json::from_str::<serde_json::Value>(&clean).unwrap();
        }
    }

    #[test]
    fn nesting_ignores_brackets_in_texts() {
        for (json, expected) in [("7", 0), (r#""[[[""#, 0), ("[]", 1), (r#"{"a":[1,{"\"[[":[]}],"b":[]}"#, 4)]
        {
            assert_eq!(nesting(json), expected, "{json}");
        }
    }

    #[test]
    fn numbers_that_are_no_json_become_null() {
        let body = "{\"a\":[NaN,-Infinity,Infinity],\"b\":\"NaN \\\" NaN\"}";
        assert_eq!(json_text(body.as_bytes()).unwrap(), "{\"a\":[null,null,null],\"b\":\"NaN \\\" NaN\"}");
        assert_eq!(json_text(b"\"\xff\"").unwrap(), "\"\u{fffd}\"");
        assert!(json_text(b"{\"a\":").is_err());
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(json_text(deep.as_bytes()).unwrap(), deep);
    }
}
