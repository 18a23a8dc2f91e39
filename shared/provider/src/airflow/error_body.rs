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

/// In characters.
const MAX_MESSAGE_LENGTH: usize = 300;

/// Returns the body of a successful response as JSON, as `json_text` does.
///
/// # Errors
/// The error of an unsuccessful response, or `Malformed` if the body is not JSON.
pub(super) fn json(response: &Response) -> Result<Cow<'_, str>, ProviderError> {
    if !(200..300).contains(&response.status) {
        return Err(error(response));
    }
    if looks_like_html(&response.body) {
        return Err(malformed(format!("{}, an HTML page instead of JSON", response.status)));
    }
    json_text(&response.body).map_err(|error| malformed(error.to_string()))
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
            "." => malformed("without the fields that it must have".to_owned()),
            path => malformed(format!("at {path}: another type than it must have")),
        }
    })
}

fn malformed(reason: String) -> ProviderError {
    ProviderError::Malformed { reason }
}

/// Returns a successful response, or none for a 404 of Airflow itself. A 404 of a proxy is an error: it must
/// never look like a deletion.
pub(super) fn if_found(response: Response) -> Result<Option<Response>, ProviderError> {
    match response.status {
        404 if is_airflow_error(&response.body) => Ok(None),
        404 => Err(malformed("404, and not in the words of Airflow's API".to_owned())),
        200..300 => Ok(Some(response)),
        _ => Err(error(&response)),
    }
}

/// The error of an unsuccessful response.
pub(super) fn error(response: &Response) -> ProviderError {
    let (status, message) = (response.status, message(&response.body));
    match status {
        401 => ProviderError::CredentialsRefused { status, message },
        403 if is_token_error(&message) => ProviderError::CredentialsRefused { status, message },
        403 => ProviderError::Forbidden { status, message },
        _ => ProviderError::Refused { status, message },
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
    ProviderError::Malformed { reason: format!("{status}, a redirect to {}", shortened(&target)) }
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
    let text = text.map(|text| shortened(&text)).filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "no reason given".to_owned())
}

/// Whether the body is an error of an existing route of Airflow. An unknown route has `error` instead of
/// `detail`.
fn is_airflow_error(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("detail").is_some_and(Value::is_string))
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
    Some(format!("a page titled \"{}\"", shortened(title)))
}

/// Joins the text to one line and truncates it.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
