//! The query string, read parameter by parameter. Unknown parameters are ignored.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::value::{self, ValueError};
use crate::http::error::{ApiError, ApiResult, FieldError};
use crate::store::pipelines::AnyOf;
use crate::store::schema::NONE;

/// How often a parameter may be given.
const MAX_VALUES: usize = 200;

/// A query, and the errors found in it so far.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, Result<String, ValueError>)>,
    /// The names of the parameters that were read.
    read: BTreeSet<&'static str>,
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
        Self { pairs: pairs.collect(), read: BTreeSet::new(), errors: Vec::new() }
    }

    /// Reads all valid values of a parameter; an invalid one is kept as an error.
    pub fn all<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Result<T, ValueError>) -> Vec<T> {
        let mut values = Vec::new();
        self.read.insert(name);
        for (_, text) in self.pairs.iter().filter(|(key, _)| key == name) {
            if values.len() == MAX_VALUES {
                self.errors.push(ValueError::too_many_items(MAX_VALUES).at(&["query", name]));
                break;
            }
            match text.as_deref().map_err(Clone::clone).and_then(&read) {
                Ok(value) => values.push(value),
                Err(error) => self.errors.push(error.at(&["query", name])),
            }
        }
        values
    }

    /// Reads the value of a parameter that may be given once.
    pub fn one<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let mut values = self.all(name, read);
        if values.len() > 1 {
            self.errors.push(ValueError::repeated().at(&["query", name]));
        }
        values.pop()
    }

    /// Records an error of a parameter.
    pub fn reject(&mut self, name: &'static str, error: ValueError) {
        self.errors.push(error.at(&["query", name]));
    }

    /// Returns a digest of a path and of the values of the parameters that were read so far, in any order.
    pub fn digest(&self, path: &str, except: &[&str]) -> String {
        let is_part = |name: &str| self.read.contains(name) && !except.contains(&name);
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| is_part(name)).collect();
        pairs.sort_by_key(|(name, text)| (name, text.as_deref().ok()));
        let mut hash = Sha256::new();
        hash.update(path);
        for (name, text) in pairs {
            let text = text.as_deref().unwrap_or_default();
            hash.update(format!("\0{name}={}:{text}", text.len()));
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
    }

    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.one(name, value::text)
    }

    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.all(name, value::text)
    }

    pub fn id<T: From<Uuid>>(&mut self, name: &'static str) -> Option<T> {
        self.one(name, value::id)
    }

    /// Reads the ids of a parameter that may be repeated, up to a maximum number.
    pub fn ids<T: From<Uuid>>(&mut self, name: &'static str, max: usize) -> Vec<T> {
        let ids = self.all(name, value::id);
        if ids.len() > max {
            self.errors.push(ValueError::too_many_items(max).at(&["query", name]));
        }
        ids
    }

    /// Reads the values of a parameter that may be repeated, in which `none` is no value.
    pub fn any_of<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> AnyOf<T> {
        let read = |text: &str| if text == NONE { Ok(None) } else { read(&value::text(text)?).map(Some) };
        self.all(name, read).into_iter().collect()
    }

    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        self.one(name, |text| value::integer(text, &range))
    }

    pub fn seconds(&mut self, name: &'static str) -> Option<f64> {
        self.one(name, value::seconds)
    }

    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.one(name, value::boolean)
    }

    pub fn time(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        self.one(name, value::time)
    }

    pub fn words<T: Copy + Display>(&mut self, name: &'static str, words: &[T]) -> Vec<T> {
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
