//! The query string, read parameter by parameter. Unknown parameters are ignored.

use std::convert::Infallible;
use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::value::{self, ValueError};
use crate::http::error::{ApiError, ApiResult, FieldError};

/// A query, and the errors found in it so far.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, Result<String, ValueError>)>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    /// Splits the percent-encoded query of a URI.
    pub fn of(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name).unwrap_or_default(), decode(text))
        });
        Self { pairs: pairs.collect(), errors: Vec::new() }
    }

    /// Reads all valid values of a parameter; an invalid one is kept as an error.
    pub fn all<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, ValueError>) -> Vec<T> {
        let mut values = Vec::new();
        for (_, text) in self.pairs.iter().filter(|(key, _)| key == name) {
            match text.as_deref().map_err(Clone::clone).and_then(&read) {
                Ok(value) => values.push(value),
                Err(error) => self.errors.push(error.at(&["query", name])),
            }
        }
        values
    }

    /// Reads the value of a parameter that may be given once.
    pub fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let mut values = self.all(name, read);
        if values.len() > 1 {
            self.errors.push(ValueError::repeated().at(&["query", name]));
        }
        values.pop()
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        self.one(name, value::text)
    }

    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.all(name, value::text)
    }

    pub fn id<T: From<Uuid>>(&mut self, name: &str) -> Option<T> {
        self.one(name, value::uuid).map(T::from)
    }

    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.one(name, |text| value::integer(text, &range))
    }

    pub fn seconds(&mut self, name: &str) -> Option<f64> {
        self.one(name, value::seconds)
    }

    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.one(name, value::boolean)
    }

    pub fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.one(name, value::time)
    }

    pub fn words<T: Copy + Display>(&mut self, name: &str, words: &[T]) -> Vec<T> {
        self.all(name, |text| value::one_of(text, words))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// With all recorded errors, if there are any.
    pub fn finish(self) -> ApiResult<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.errors)) }
    }
}

/// Returns whether a percent-encoded pair of a query has this name.
pub fn is_named(pair: &str, name: &str) -> bool {
    decode(pair.split('=').next().unwrap_or_default()).is_ok_and(|decoded| decoded == name)
}

fn decode(text: &str) -> Result<String, ValueError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|decoded| decoded.into_owned()).map_err(|_| ValueError::not_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(query: Query) -> Vec<(String, &'static str)> {
        match query.finish() {
            Err(ApiError::Invalid(errors)) => errors.into_iter().map(|e| (e.loc.join("."), e.kind)).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let mut query = Query::of("days=0&team_id=x&page=one&page=2&q=%00&owner=%ff&unknown=%ff");
        assert_eq!(query.integer("days", 1..=365), None);
        assert_eq!(query.id::<Uuid>("team_id"), None);
        query.integer("page", 1..=i64::MAX);
        query.text("q");
        query.texts("owner");
        assert_eq!(
            errors(query),
            [
                ("query.days".to_owned(), "value_error.number.not_ge"),
                ("query.team_id".to_owned(), "type_error.uuid"),
                ("query.page".to_owned(), "type_error.integer"),
                ("query.q".to_owned(), "value_error.str.regex"),
                ("query.owner".to_owned(), "value_error.unicode"),
            ]
        );
    }

    #[test]
    fn only_a_single_value_parameter_rejects_repetition() {
        let mut query = Query::of("days=1&days=2&owner=a+b&owner=%E2%9C%93%2B");
        query.integer("days", 1..=365);
        assert_eq!(query.texts("owner"), ["a b", "✓+"]);
        assert_eq!(errors(query), [("query.days".to_owned(), "value_error.list.max_items")]);
    }
}
