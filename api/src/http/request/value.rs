//! Parsing of single values, and the errors of invalid ones.

use std::fmt::Display;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

use crate::http::error::FieldError;

/// Why a value is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    message: String,
    kind: &'static str,
}

impl ValueError {
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind }
    }

    /// Returns the error of the field at this location.
    pub fn at(self, loc: &[&str]) -> FieldError {
        let loc = loc.iter().map(|&part| part.to_owned()).collect();
        FieldError { loc, msg: self.message, kind: self.kind }
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

    pub(super) fn too_many_items(max: usize) -> Self {
        Self::new("value_error.list.max_items", format!("ensure this value has at most {max} items"))
    }

    pub(super) fn nul() -> Self {
        Self::new("value_error.str.regex", "the character NUL (U+0000) is not allowed")
    }

    pub(super) fn not_utf8() -> Self {
        Self::new("value_error.unicode", "value is not valid UTF-8")
    }
}

/// Text without the character NUL, the only one that PostgreSQL cannot store.
pub fn text(text: &str) -> Result<String, ValueError> {
    if text.contains('\0') {
        return Err(ValueError::nul());
    }
    Ok(text.to_owned())
}

pub(super) fn uuid(text: &str) -> Result<Uuid, ValueError> {
    // `Uuid` also parses braces and digits without hyphens; the API accepts the hyphenated form alone.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err(ValueError::new("type_error.uuid", "value is not a valid uuid")),
    }
}

/// Reads the id of an entity.
pub fn id<T: From<Uuid>>(text: &str) -> Result<T, ValueError> {
    uuid(text).map(T::from)
}

/// Reads an integer in a range. A number outside of `i64` becomes its nearest bound.
pub(super) fn integer(text: &str, range: &RangeInclusive<i64>) -> Result<i64, ValueError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::not_integer());
    }
    let bound = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    in_range(text.parse().unwrap_or(bound), range)
}

pub(super) fn in_range(number: i64, range: &RangeInclusive<i64>) -> Result<i64, ValueError> {
    let (min, max) = (range.start(), range.end());
    if number < *min {
        let message = format!("ensure this value is greater than or equal to {min}");
        return Err(ValueError::new("value_error.number.not_ge", message));
    }
    if number > *max {
        let message = format!("ensure this value is less than or equal to {max}");
        return Err(ValueError::new("value_error.number.not_le", message));
    }
    Ok(number)
}

/// Reads a number of seconds that is not negative.
pub(super) fn seconds(text: &str) -> Result<f64, ValueError> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        Ok(number) if number.is_finite() => Err(ValueError::new(
            "value_error.number.not_ge",
            "ensure this value is greater than or equal to 0",
        )),
        _ => Err(ValueError::new("type_error.float", "value is not a valid float")),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(ValueError::not_boolean()),
    }
}

/// Reads a time in RFC 3339, or a date, which means its midnight in UTC.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, ValueError> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let date =
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let has_four_digit_year = text.len() >= 10 && text.as_bytes()[4] == b'-';
    time.or_else(|_| date()).ok().filter(|_| has_four_digit_year).ok_or_else(|| {
        ValueError::new(
            "value_error.datetime",
            "invalid datetime format: RFC 3339 with an offset (a + in a query is written %2B), or a date",
        )
    })
}

/// Reads the value with this text.
pub fn one_of<T: Copy + Display>(text: &str, values: &[T]) -> Result<T, ValueError> {
    values.iter().copied().find(|value| value.to_string() == text).ok_or_else(|| {
        let permitted: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
        let permitted = permitted.join(", ");
        ValueError::new(
            "type_error.enum",
            format!("value is not a valid enumeration member; permitted: {permitted}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_accepts_rfc_3339_and_dates_only() {
        let midnight = time("2026-01-02").unwrap();
        assert_eq!(midnight, time("2026-01-02T01:00:00+01:00").unwrap());
        for bad in ["", "2026", "2026-13-01", "2026-01-02T00:00:00", "26-01-02", "yesterday", "+2026-01-02"] {
            assert_eq!(time(bad).unwrap_err().kind, "value_error.datetime", "{bad:?}");
        }
    }

    #[test]
    fn integer_saturates_at_the_bounds_of_i64() {
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
    fn uuid_accepts_the_hyphenated_form_only() {
        let id = "01a20ad9-f025-7402-bd27-120a4e081f65";
        assert!(uuid(id).is_ok());
        for bad in ["", "x", "01a20ad9f0257402bd27120a4e081f65", &format!("{{{id}}}"), &format!("{id}0")] {
            assert!(uuid(bad).is_err(), "{bad:?}");
        }
    }
}
