//! How single values are read from text, and the vocabulary of what can be wrong with one.

use std::fmt::Display;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub(super) message: String,
    pub(super) kind: &'static str,
}

impl Wrong {
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind }
    }

    pub(super) fn missing() -> Self {
        Self::new("value_error.missing", "field required")
    }

    pub(super) fn null() -> Self {
        Self::new("type_error.none.not_allowed", "none is not an allowed value")
    }

    pub(super) fn not_text() -> Self {
        Self::new("type_error.str", "str type expected")
    }

    pub(super) fn not_object() -> Self {
        Self::new("type_error.dict", "value is not a valid dict")
    }

    pub(super) fn not_integer() -> Self {
        Self::new("type_error.integer", "value is not a valid integer")
    }

    pub(super) fn not_boolean() -> Self {
        Self::new("type_error.bool", "value could not be parsed to a boolean")
    }

    pub(super) fn repeated() -> Self {
        Self::new("value_error.list.max_items", "ensure this value is given once")
    }

    pub(super) fn not_utf8() -> Self {
        Self::new("value_error.unicode", "value is not valid UTF-8")
    }
}

/// PostgreSQL's text holds every character but this one.
pub(super) fn text(text: &str) -> Result<String, Wrong> {
    match text.contains('\0') {
        true => Err(Wrong::new("value_error.str.regex", "the character NUL (U+0000) is not allowed")),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn uuid(text: &str) -> Result<Uuid, Wrong> {
    // The crate also takes braces and bare digits; an id here is written one way.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err(Wrong::new("type_error.uuid", "value is not a valid uuid")),
    }
}

/// A whole number in a range; one too large to hold counts as the largest.
pub(super) fn integer(text: &str, range: &RangeInclusive<i64>) -> Result<i64, Wrong> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::not_integer());
    }
    let huge = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    in_range(text.parse().unwrap_or(huge), range)
}

pub(super) fn in_range(number: i64, range: &RangeInclusive<i64>) -> Result<i64, Wrong> {
    let (least, most) = (range.start(), range.end());
    if number < *least {
        let message = format!("ensure this value is greater than or equal to {least}");
        return Err(Wrong::new("value_error.number.not_ge", message));
    }
    if number > *most {
        let message = format!("ensure this value is less than or equal to {most}");
        return Err(Wrong::new("value_error.number.not_le", message));
    }
    Ok(number)
}

/// A number of seconds, not negative.
pub(super) fn seconds(text: &str) -> Result<f64, Wrong> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        Ok(number) if number.is_finite() => {
            Err(Wrong::new("value_error.number.not_ge", "ensure this value is greater than or equal to 0"))
        }
        _ => Err(Wrong::new("type_error.float", "value is not a valid float")),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Wrong::not_boolean()),
    }
}

/// A moment: RFC 3339, or a date for its midnight in UTC.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, Wrong> {
    let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    let date =
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let shaped = text.len() >= 10 && text.as_bytes()[4] == b'-';
    moment.or_else(|_| date()).ok().filter(|_| shaped).ok_or_else(|| {
        Wrong::new(
            "value_error.datetime",
            "invalid datetime format: RFC 3339 with an offset (a + in a query is written %2B), or a date",
        )
    })
}

/// One of a fixed set of words.
pub fn one_of<T: Copy + Display>(text: &str, words: &[T]) -> Result<T, Wrong> {
    words.iter().copied().find(|word| word.to_string() == text).ok_or_else(|| {
        let permitted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let permitted = permitted.join(", ");
        Wrong::new(
            "type_error.enum",
            format!("value is not a valid enumeration member; permitted: {permitted}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_date() {
        let midnight = time("2026-01-02").unwrap();
        assert_eq!(midnight, time("2026-01-02T01:00:00+01:00").unwrap());
        for bad in ["", "2026", "2026-13-01", "2026-01-02T00:00:00", "26-01-02", "yesterday", "+2026-01-02"] {
            assert_eq!(time(bad).unwrap_err().kind, "value_error.datetime", "{bad:?}");
        }
    }

    #[test]
    fn a_number_too_large_to_hold_is_still_a_number() {
        assert_eq!(integer("99999999999999999999", &(1..=i64::MAX)), Ok(i64::MAX));
        assert_eq!(
            integer("99999999999999999999", &(1..=365)).unwrap_err().kind,
            "value_error.number.not_le"
        );
        assert_eq!(
            integer("-99999999999999999999", &(1..=365)).unwrap_err().kind,
            "value_error.number.not_ge"
        );
        for bad in ["", "-", "1.5", "1e3", "０", " 1"] {
            assert_eq!(integer(bad, &(1..=365)).unwrap_err().kind, "type_error.integer", "{bad:?}");
        }
    }

    #[test]
    fn an_id_is_written_one_way() {
        let id = "01a20ad9-f025-7402-bd27-120a4e081f65";
        assert!(uuid(id).is_ok());
        for bad in ["", "x", "01a20ad9f0257402bd27120a4e081f65", &format!("{{{id}}}"), &format!("{id}0")] {
            assert!(uuid(bad).is_err(), "{bad:?}");
        }
    }
}
