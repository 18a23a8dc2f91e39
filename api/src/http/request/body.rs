//! The JSON body, field by field.

use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_LENGTH;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Fault, Wrong, value};
use crate::http::error::{ApiError, ApiResult};
use crate::state::App;

/// The bytes of a body within the size allowed.
pub struct Body(Bytes);

impl FromRequest<App> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let limit = app.body_limit;
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limit) {
            return Err(ApiError::TooLarge(limit));
        }
        match axum::body::to_bytes(request.into_body(), limit).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if is_too_large(&error) => Err(ApiError::TooLarge(limit)),
            Err(_) => Err(ApiError::BadRequest("The body ended before it was complete")),
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

impl Body {
    /// The fields of a body that must be there.
    ///
    /// # Errors
    /// When it is not JSON, or not an object.
    pub fn fields(self) -> ApiResult<Fields> {
        let value = serde_json::from_slice(&self.0)
            .map_err(|_| ApiError::BadRequest("The body is not valid JSON"))?;
        match value {
            Value::Object(fields) => Ok(Fields::of(fields)),
            _ => Err(ApiError::Invalid(vec![Fault::new(&["body"], Wrong::not_object())])),
        }
    }

    /// The fields of a body that may be left out; none then.
    ///
    /// # Errors
    /// When it is there and not JSON, or not an object.
    pub fn optional_fields(self) -> ApiResult<Fields> {
        match self.0.trim_ascii() {
            b"" | b"null" => Ok(Fields::of(Map::new())),
            _ => self.fields(),
        }
    }
}

/// The fields of an object, and what was found wrong with them so far. Each is taken once, so that what is left in the
/// end is what nobody knows.
#[derive(Debug)]
pub struct Fields {
    loc: Vec<String>,
    fields: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    fn of(fields: Map<String, Value>) -> Self {
        Self { loc: vec!["body".to_owned()], fields, faults: Vec::new() }
    }

    /// Notes a fault of a field.
    pub fn fault(&mut self, name: &str, wrong: Wrong) {
        let loc: Vec<&str> = self.loc.iter().map(String::as_str).chain([name]).collect();
        let fault = Fault::new(&loc, wrong);
        self.faults.push(fault);
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Whether a field is there and not null.
    pub fn has_value(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field that may be missing and must not be null.
    pub fn given<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        if self.has(name) { self.required(name, read) } else { None }
    }

    /// A field, none when it is missing or null.
    pub fn optional<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.noted(name, read(value)),
        }
    }

    /// A field that must be there; null is a value of its own.
    pub fn nullable<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.fields.remove(name) {
            None => self.noted(name, Err(Wrong::missing())),
            Some(Value::Null) => Some(None),
            Some(value) => self.noted(name, read(value)).map(Some),
        }
    }

    /// A field that must be there and not be null.
    pub fn required<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.fields.remove(name) {
            None => self.noted(name, Err(Wrong::missing())),
            Some(Value::Null) => self.noted(name, Err(Wrong::null())),
            Some(value) => self.noted(name, read(value)),
        }
    }

    /// The fields of an object within; what is wrong with them is noted when they are given back.
    pub fn object(&mut self, name: &str) -> Option<Self> {
        let fields = self.required(name, object)?;
        let loc = self.loc.iter().cloned().chain([name.to_owned()]).collect();
        Some(Self { loc, fields, faults: Vec::new() })
    }

    /// Takes back the fields of an object within.
    pub fn absorb(&mut self, inner: Self) {
        self.faults.extend(inner.faults);
    }

    /// Notes every field that is left as unknown.
    pub fn refuse_rest(&mut self) {
        let left: Vec<String> = std::mem::take(&mut self.fields).into_iter().map(|(name, _)| name).collect();
        for name in left {
            self.fault(&name, Wrong::new("value_error.extra", "extra fields not permitted"));
        }
    }

    /// Ends the reading; unknown fields are passed over.
    ///
    /// # Errors
    /// With every fault that was noted.
    pub fn finish(self) -> ApiResult<()> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(ApiError::Invalid(self.faults)),
        }
    }

    fn noted<T>(&mut self, name: &str, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|wrong| self.fault(name, wrong)).ok()
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Wrong::not_object()),
    }
}

/// An object that PostgreSQL can hold: no NUL in any key or text.
pub fn storable_object(value: Value) -> Result<Map<String, Value>, Wrong> {
    let fields = object(value)?;
    fields.iter().try_for_each(|(name, value)| storable(name, value))?;
    Ok(fields)
}

fn storable(name: &str, value: &Value) -> Result<(), Wrong> {
    value::text(name)?;
    match value {
        Value::String(text) => value::text(text).map(drop),
        Value::Array(items) => items.iter().try_for_each(|item| storable("", item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| storable(name, value)),
        _ => Ok(()),
    }
}

pub fn text(value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => value::text(&text),
        _ => Err(Wrong::not_text()),
    }
}

/// Text of so many characters, counted without the white space around it; given back as it was.
pub fn text_of(lengths: RangeInclusive<usize>) -> impl FnOnce(Value) -> Result<String, Wrong> {
    move |value| {
        let text = text(value)?;
        let length = text.trim().chars().count();
        let (least, most) = (lengths.start(), lengths.end());
        if length < *least {
            let message = format!("ensure this value has at least {least} characters");
            return Err(Wrong::new("value_error.any_str.min_length", message));
        }
        if length > *most {
            let message = format!("ensure this value has at most {most} characters");
            return Err(Wrong::new("value_error.any_str.max_length", message));
        }
        Ok(text)
    }
}

pub fn boolean(value: Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(Wrong::not_boolean)
}

pub fn integer(range: RangeInclusive<i64>) -> impl FnOnce(Value) -> Result<i64, Wrong> {
    move |value| match whole(&value) {
        Some(number) => value::in_range(number, &range),
        None => Err(Wrong::not_integer()),
    }
}

/// A whole number, `30.0` included; one too large to hold counts as the largest.
fn whole(value: &Value) -> Option<i64> {
    let is_whole =
        value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    // The cast goes to the nearest number that can be held.
    is_whole.then(|| value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))).flatten()
}

pub fn id<T: From<Uuid>>(value: Value) -> Result<T, Wrong> {
    let text = value.as_str().unwrap_or_default();
    value::uuid(text).map(T::from)
}

pub fn time(value: Value) -> Result<DateTime<Utc>, Wrong> {
    value::time(value.as_str().unwrap_or_default())
}

pub fn word<T: Copy + Display>(words: &[T]) -> impl FnOnce(Value) -> Result<T, Wrong> {
    move |value| value::one_of(value.as_str().unwrap_or_default(), words)
}
