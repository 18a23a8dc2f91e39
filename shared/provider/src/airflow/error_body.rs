//! Decodes response bodies: expected values, Airflow's various error formats, and HTML pages of proxies.
//! Every failure is one `ProviderError` with a one-sentence message.

use std::borrow::Cow;

use reqwest::header::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::client::Response;
use super::json_text::json_text;
use crate::ProviderError;
use crate::error::one_line;

/// Returns the body of a successful response as JSON, as `json_text` does.
///
/// # Errors
/// The error of an unsuccessful response, or `Malformed` if the body is not JSON.
pub(super) fn json(response: &Response) -> Result<Cow<'_, str>, ProviderError> {
    if !(200..300).contains(&response.status) {
        return Err(error(response));
    }
    if looks_like_html(&response.body) {
        return Err(ProviderError::malformed(&format!("{}, an HTML page instead of JSON", response.status)));
    }
    json_text(&response.body).map_err(|error| ProviderError::malformed(&error.to_string()))
}

/// Decodes the body of a successful response.
///
/// # Errors
/// As `json`, or `Malformed` if the body does not have the expected fields: the error does not contain their
/// values.
pub(super) fn expect<T: DeserializeOwned>(response: &Response) -> Result<T, ProviderError> {
    let text = json(response)?;
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text)).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => ProviderError::malformed("without the fields that it must have"),
            path => ProviderError::malformed(&format!("at {path}: another type than it must have")),
        }
    })
}

/// Returns a successful response, or none for a 404 in which Airflow itself says that it does not have this
/// id. A 404 of a proxy or of an unknown route is an error: it must never look like a deletion.
pub(super) fn if_found(response: Response, id: &str) -> Result<Option<Response>, ProviderError> {
    match response.status {
        404 if own_words(&response.body).is_some_and(|detail| names(&detail, id)) => Ok(None),
        404 => Err(foreign_404()),
        200..300 => Ok(Some(response)),
        _ => Err(error(&response)),
    }
}

/// Whether this is a 404 that says nothing about what was asked for.
pub(super) fn is_foreign_404(error: &ProviderError) -> bool {
    *error == foreign_404()
}

/// The error of a list: a 404 that names none of the ids in its path says nothing about them.
pub(super) fn of_list(error: ProviderError, path: &[&str]) -> ProviderError {
    match &error {
        ProviderError::Refused { status: 404, message } if !path_ids(path).any(|id| names(message, id)) => {
            foreign_404()
        }
        _ => error,
    }
}

/// The ids in the path of a list, without the placeholder of all.
pub(super) fn path_ids<'a>(path: &[&'a str]) -> impl Iterator<Item = &'a str> {
    path.iter().copied().skip(3).step_by(2).filter(|id| *id != "~")
}

fn foreign_404() -> ProviderError {
    ProviderError::malformed("404, and not in the words of Airflow's API")
}

/// The error of an unsuccessful response.
pub(super) fn error(response: &Response) -> ProviderError {
    let (status, message) = (response.status, message(&response.body));
    match status {
        401 => ProviderError::CredentialsRefused { status, message },
        403 if is_token_error(&message) => ProviderError::CredentialsRefused { status, message },
        403 => ProviderError::Forbidden { status, message, subject: None },
        404 if own_words(&response.body).is_none() => foreign_404(),
        _ => ProviderError::Refused { status, message },
    }
}

/// The error of a request that has no effect without its route: any 404 refuses it.
pub(super) fn refused_if_not_found(response: &Response) -> Result<(), ProviderError> {
    match response.status {
        404 => Err(ProviderError::Refused { status: 404, message: message(&response.body) }),
        _ => Ok(()),
    }
}

/// Whether a 403 rejects the token rather than its permissions: Airflow 3 answers so if it cannot decode the
/// token.
pub(super) fn is_token_error(message: &str) -> bool {
    message.to_ascii_lowercase().contains("jwt")
}

/// The error of a redirect. Redirects are never followed, because they could send the credentials anywhere.
pub(super) fn redirect(status: u16, location: Option<&HeaderValue>) -> ProviderError {
    let location = location.and_then(|location| location.to_str().ok()).unwrap_or_default();
    let target = match Url::parse(location) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            // This cannot fail for a URL with a host, and a URL without a host has no credentials.
            let _ = (url.set_username(""), url.set_password(None));
            url.to_string()
        }
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    ProviderError::malformed(&format!("{status}, a redirect to {target}"))
}

/// Extracts a one-sentence message from the body of an error.
pub(super) fn message(body: &[u8]) -> String {
    if looks_like_html(body) {
        return html_title(body).unwrap_or_else(|| "an HTML page".to_owned());
    }
    let text = match detail(body) {
        Some(detail) => detail_text(&detail),
        None => Some(String::from_utf8_lossy(body).into_owned()),
    };
    let text = text.map(|text| one_line(&text)).filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "no reason given".to_owned())
}

/// The `detail` of a 404 that Airflow itself answers for an id that it does not have. An unknown route has
/// `error` instead, and web frameworks answer for unknown routes in words of their own.
fn own_words(body: &[u8]) -> Option<String> {
    const FRAMEWORKS: [&str; 2] = ["Not Found", "The requested URL was not found"];
    let detail = detail_text(serde_json::from_slice::<Value>(body).ok()?.get("detail")?)?;
    (!FRAMEWORKS.iter().any(|words| detail.starts_with(words))).then_some(detail)
}

/// Whether the text contains the id as a word.
fn names(text: &str, id: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(id)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + id.len()..].starts_with(is_part))
}

/// Whether the body is an error of Airflow's API rather than of a proxy before it.
pub(super) fn is_problem(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|body| ["detail", "title"].iter().any(|field| body.get(field).is_some()))
}

/// The `detail` of an error. Airflow 2 may have only a `title`, and unknown routes an `error`.
fn detail(body: &[u8]) -> Option<Value> {
    let mut body = serde_json::from_slice::<Value>(body).ok()?;
    let fields = body.as_object_mut()?;
    let detail = fields.remove("detail");
    match detail {
        Some(Value::Null) | None => fields.remove("title").or_else(|| fields.remove("error")).or(detail),
        detail => detail,
    }
}

/// A `detail` is a string, a list of validation errors, or an object, of which only the message is used since
/// it may contain SQL.
fn detail_text(detail: &Value) -> Option<String> {
    match detail {
        Value::String(text) => Some(text.clone()),
        Value::Array(errors) => {
            let errors: Vec<_> = errors.iter().take(5).filter_map(validation_error).collect();
            Some(errors.join("; "))
        }
        Value::Object(fields) => {
            ["reason", "message", "msg"].iter().find_map(|key| fields.get(*key)?.as_str().map(str::to_owned))
        }
        _ => None,
    }
}

fn validation_error(error: &Value) -> Option<String> {
    let Value::Object(fields) = error else { return detail_text(error) };
    let message = fields.get("msg")?.as_str()?;
    let location: Vec<_> = fields
        .get("loc")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|part| {
            part.as_str().map(str::to_owned).or_else(|| part.as_i64().map(|part| part.to_string()))
        })
        .filter(|part| part != "body")
        .collect();
    Some(if location.is_empty() { message.to_owned() } else { format!("{}: {message}", location.join(".")) })
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

fn html_title(body: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(body);
    let (_, title) = page.split_once("<title>")?;
    let (title, _) = title.split_once("</title>")?;
    Some(format!("a page titled \"{}\"", one_line(title)))
}
