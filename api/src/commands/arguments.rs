//! Parsers of the slugs, names and addresses that the commands take.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// Parses a slug; the schema has the same constraint.
pub(super) fn slug(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let starts_plain = text.chars().next().is_some_and(is_plain);
    if starts_plain && text.len() <= 63 && text.chars().all(|c| is_plain(c) || c == '-') {
        return Ok(text.to_owned());
    }
    Err("a slug is 1 to 63 lower-case letters, digits and hyphens, no hyphen first".to_owned())
}

/// Parses a name and trims it.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name cannot be empty".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// Parses a time to come: RFC 3339, or a date, which means its midnight in UTC.
pub(super) fn future(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let date =
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    match time.or_else(|_| date()) {
        Ok(time) if time > Utc::now() => Ok(time),
        Ok(_) => Err("the time has passed".to_owned()),
        Err(_) => Err("a time looks like 2030-01-31 or 2030-01-31T12:00:00Z".to_owned()),
    }
}

/// Parses an e-mail address and trims it.
pub(super) fn email(text: &str) -> Result<String, String> {
    match text.trim().split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Ok(text.trim().to_owned()),
        _ => Err("an address has a name, an @ and a domain".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_to_come_are_accepted() {
        assert_eq!(future("2999-01-31"), future("2999-01-31T01:00:00+01:00"));
        for bad in ["", "2999", "2999-13-01", "2001-01-01", "2999-01-31T12:00:00"] {
            assert!(future(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn slug_accepts_what_the_schema_accepts() {
        assert!(slug("finance-2").is_ok());
        for bad in ["", "-a", "Finance", "a_b", "é", &"a".repeat(64)] {
            assert!(slug(bad).is_err(), "{bad:?}");
        }
    }
}
