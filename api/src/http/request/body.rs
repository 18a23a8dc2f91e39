//! The JSON body of a request, read field by field.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::CONTENT_LENGTH;
use chrono::{DateTime, Utc};
use contract::events::{MAX_CONF_NESTING, MAX_CONF_SIZE};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use uuid::Uuid;

use super::json_text;
use super::value::{self, ValueError};
use crate::http::error::{ApiError, ApiResult, FieldError};

/// The maximum number of bytes of a body that is not kept as text.
const MAX_BODY: usize = 64 << 10;
/// The number of larger bodies that are read and parsed at a time.
const MAX_LARGE_BODIES: usize = 16;
/// How long a larger body may take to arrive.
const LARGE_BODY_TIMEOUT: Duration = Duration::from_secs(10);

static LARGE_BODIES: Semaphore = Semaphore::const_new(MAX_LARGE_BODIES);

/// The maximum number of bytes of a [`LargeBody`].
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// The bytes of a body of at most 64 KiB.
pub struct Body(Bytes);

/// The bytes of a body within the [`BodyLimit`].
pub struct LargeBody {
    bytes: Bytes,
    /// Held until the body is parsed.
    _permit: Option<SemaphorePermit<'static>>,
}

impl<S: Send + Sync> FromRequest<S> for Body
where
    BodyLimit: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let BodyLimit(limit) = BodyLimit::from_ref(state);
        read(request, limit.min(MAX_BODY)).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for LargeBody
where
    BodyLimit: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let BodyLimit(limit) = BodyLimit::from_ref(state);
        if content_length(&request).is_some_and(|length| length <= MAX_BODY) {
            return Ok(Self { bytes: read(request, limit).await?, _permit: None });
        }
        let Ok(Ok(permit)) = timeout(LARGE_BODY_TIMEOUT, LARGE_BODIES.acquire()).await else {
            return Err(ApiError::Unavailable("Other large bodies are read here for too long"));
        };
        match timeout(LARGE_BODY_TIMEOUT, read(request, limit)).await {
            Ok(bytes) => Ok(Self { bytes: bytes?, _permit: Some(permit) }),
            Err(_) => Err(ApiError::BadRequest("The body did not arrive in time")),
        }
    }
}

fn content_length(request: &Request) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(request: Request, limit: usize) -> ApiResult<Bytes> {
    if content_length(&request).is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge(limit));
    }
    match axum::body::to_bytes(request.into_body(), limit).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if is_too_large(&error) => Err(ApiError::TooLarge(limit)),
        Err(_) => Err(ApiError::BadRequest("The body ended before it was complete")),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

impl Body {
    /// Reads the fields of a required body.
    ///
    /// # Errors
    /// When the body is not a JSON object.
    pub fn fields(self) -> ApiResult<Fields> {
        let value = serde_json::from_slice(&self.0)
            .map_err(|_| ApiError::BadRequest("The body is not valid JSON"))?;
        match value {
            Value::Object(fields) => Ok(Fields::of(fields)),
            _ => Err(ApiError::Invalid(vec![ValueError::not_object().at(&["body"])])),
        }
    }

    /// Reads the fields of an optional body. A missing body and `null` have no fields.
    ///
    /// # Errors
    /// When the body is present and not a JSON object.
    pub fn optional_fields(self) -> ApiResult<Fields> {
        match self.0.trim_ascii() {
            b"" | b"null" => Ok(Fields::of(Map::new())),
            _ => self.fields(),
        }
    }
}

impl LargeBody {
    /// Reads the fields of an optional body, of which one is kept as text. The other fields are no lists and
    /// no objects.
    ///
    /// # Errors
    /// When the body is present and not a JSON object.
    pub fn optional_fields(self, text_field: &str) -> ApiResult<(Fields, Option<Box<RawValue>>)> {
        let not_json = |_| ApiError::BadRequest("The body is not valid JSON");
        let text = self.bytes.trim_ascii();
        if matches!(text, b"" | b"null") {
            return Ok((Fields::of(Map::new()), None));
        }
        if !text.starts_with(b"{") {
            serde_json::from_slice::<&RawValue>(text).map_err(not_json)?;
            return Err(ApiError::Invalid(vec![ValueError::not_object().at(&["body"])]));
        }
        let mut given: HashMap<String, &RawValue> = serde_json::from_slice(text).map_err(not_json)?;
        let kept = given.remove(text_field).filter(|value| value.get() != "null").map(ToOwned::to_owned);
        let fields = given.into_iter().map(|(name, value)| Ok((name, scalar(value)?)));
        let fields = fields.collect::<Result<_, _>>().map_err(not_json)?;
        Ok((Fields::of(fields), kept))
    }
}

/// Decodes a text, a number or a boolean. A list or an object becomes an empty list: it costs no memory, and
/// no field accepts it.
fn scalar(value: &RawValue) -> serde_json::Result<Value> {
    if value.get().starts_with(['[', '{']) {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(value.get())
}

/// The fields of an object, and the errors found in them so far. Reading a field removes it, so that the
/// unknown fields remain.
#[derive(Debug)]
pub struct Fields {
    loc: Vec<String>,
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    fn of(fields: Map<String, Value>) -> Self {
        Self { loc: vec!["body".to_owned()], fields, errors: Vec::new() }
    }

    /// Adds an error of a field.
    pub fn add_error(&mut self, name: &str, error: ValueError) {
        let loc: Vec<&str> = self.loc.iter().map(String::as_str).chain([name]).collect();
        let error = error.at(&loc);
        self.errors.push(error);
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Returns whether a field is present and not null.
    pub fn has_value(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Reads a field that may be missing but must not be null.
    pub fn if_present<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        if self.has(name) { self.required(name, read) } else { None }
    }

    /// Reads an optional field; null counts as missing.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.keep_error(name, read(value)),
        }
    }

    /// Reads a required field; null is a value of its own.
    pub fn nullable<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, ValueError>,
    ) -> Option<Option<T>> {
        match self.fields.remove(name) {
            None => self.keep_error(name, Err(ValueError::missing())),
            Some(Value::Null) => Some(None),
            Some(value) => self.keep_error(name, read(value)).map(Some),
        }
    }

    /// Reads a required field that must not be null.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        match self.fields.remove(name) {
            None => self.keep_error(name, Err(ValueError::missing())),
            Some(Value::Null) => self.keep_error(name, Err(ValueError::null())),
            Some(value) => self.keep_error(name, read(value)),
        }
    }

    /// Takes the fields of a nested object. Its errors count once [`Self::merge`] has taken it back.
    pub fn object(&mut self, name: &str) -> Option<Self> {
        let fields = self.required(name, object)?;
        let loc = self.loc.iter().cloned().chain([name.to_owned()]).collect();
        Some(Self { loc, fields, errors: Vec::new() })
    }

    /// Takes over the errors of a nested object.
    pub fn merge(&mut self, nested: Self) {
        self.errors.extend(nested.errors);
    }

    /// Checks the text of an object that is stored and sent as it is.
    pub fn object_text(&mut self, name: &str, text: Option<Box<RawValue>>) -> Option<Box<RawValue>> {
        let text = text?;
        let checked = match text.get() {
            json if !json.starts_with('{') => Err(ValueError::not_object()),
            json if json.len() > MAX_CONF_SIZE => {
                let message = format!("ensure this value has at most {MAX_CONF_SIZE} bytes");
                Err(ValueError::new("value_error.any_str.max_length", message))
            }
            json => json_text::check_storable(json),
        };
        self.keep_error(name, checked.map(|()| text))
    }

    /// Records an error for every remaining field.
    pub fn deny_unknown(&mut self) {
        let unknown: Vec<String> =
            std::mem::take(&mut self.fields).into_iter().map(|(name, _)| name).collect();
        for name in unknown {
            self.add_error(&name, ValueError::new("value_error.extra", "extra fields not permitted"));
        }
    }

    /// Ends the reading. Unknown fields are ignored.
    ///
    /// # Errors
    /// With all recorded errors, if there are any.
    pub fn finish(self) -> ApiResult<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.errors)) }
    }

    fn keep_error<T>(&mut self, name: &str, read: Result<T, ValueError>) -> Option<T> {
        read.map_err(|error| self.add_error(name, error)).ok()
    }
}

fn object(value: Value) -> Result<Map<String, Value>, ValueError> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(ValueError::not_object()),
    }
}

/// Reads an object that PostgreSQL can store and an event can carry: without the character NUL in any key or
/// text, and not nested too deep.
pub fn storable_object(value: Value) -> Result<Map<String, Value>, ValueError> {
    let fields = object(value)?;
    fields.iter().try_for_each(|(name, value)| storable(name, value, 2))?;
    Ok(fields)
}

fn storable(name: &str, value: &Value, depth: usize) -> Result<(), ValueError> {
    value::text(name)?;
    if depth > MAX_CONF_NESTING && matches!(value, Value::Array(_) | Value::Object(_)) {
        let message = format!("ensure this value is nested at most {MAX_CONF_NESTING} levels deep");
        return Err(ValueError::new("value_error.nesting", message));
    }
    match value {
        Value::String(text) => value::text(text).map(drop),
        Value::Array(items) => items.iter().try_for_each(|item| storable("", item, depth + 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| storable(name, value, depth + 1)),
        _ => Ok(()),
    }
}

pub fn text(value: Value) -> Result<String, ValueError> {
    match value {
        Value::String(text) => value::text(&text),
        _ => Err(ValueError::not_text()),
    }
}

/// Reads text with this number of characters. Surrounding white space is not counted, but kept.
pub fn text_of(lengths: RangeInclusive<usize>) -> impl FnOnce(Value) -> Result<String, ValueError> {
    move |value| {
        let text = text(value)?;
        let length = text.trim().chars().count();
        let (min, max) = (lengths.start(), lengths.end());
        if length < *min {
            let message = format!("ensure this value has at least {min} characters");
            return Err(ValueError::new("value_error.any_str.min_length", message));
        }
        if length > *max {
            let message = format!("ensure this value has at most {max} characters");
            return Err(ValueError::new("value_error.any_str.max_length", message));
        }
        Ok(text)
    }
}

pub fn boolean(value: Value) -> Result<bool, ValueError> {
    value.as_bool().ok_or_else(ValueError::not_boolean)
}

pub fn integer(range: RangeInclusive<i64>) -> impl FnOnce(Value) -> Result<i64, ValueError> {
    move |value| match whole_number(&value) {
        Some(number) => value::in_range(number, &range),
        None => Err(ValueError::not_integer()),
    }
}

/// Reads an integer; `30.0` is one, too. A number outside of `i64` becomes its nearest bound.
fn whole_number(value: &Value) -> Option<i64> {
    let is_whole =
        value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    // The cast saturates.
    is_whole.then(|| value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))).flatten()
}

pub fn id<T: From<Uuid>>(value: Value) -> Result<T, ValueError> {
    let text = value.as_str().unwrap_or_default();
    value::uuid(text).map(T::from)
}

pub fn time(value: Value) -> Result<DateTime<Utc>, ValueError> {
    value::time(value.as_str().unwrap_or_default())
}

pub fn one_of<T: Copy + Display>(words: &[T]) -> impl FnOnce(Value) -> Result<T, ValueError> {
    move |value| value::one_of(value.as_str().unwrap_or_default(), words)
}
