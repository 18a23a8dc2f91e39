//! What Airflow means when it does not give what was asked for: its many shapes of an error, and pages of the proxies
//! before it, as one sentence and one `ProviderError`.

use reqwest::header::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::client::Answer;
use crate::ProviderError;

const LONGEST_MESSAGE: usize = 300;

/// The body of a good answer.
///
/// # Errors
/// The refusal, or `Malformed` when the body is not what was asked for.
pub(super) fn expect<T: DeserializeOwned>(answer: &Answer) -> Result<T, ProviderError> {
    if !(200..300).contains(&answer.status) {
        return Err(refused(answer));
    }
    let malformed = |reason: String| ProviderError::Malformed { reason };
    if looks_like_html(&answer.body) {
        return Err(malformed(format!("{}, an HTML page instead of JSON", answer.status)));
    }
    let body = parse(&answer.body);
    let body = body.or_else(|error| without_nan(&answer.body).map_or(Err(error), |body| parse(&body)));
    body.map_err(|error| match error.path().to_string().as_str() {
        "." => malformed(error.inner().to_string()),
        path => malformed(format!("at {path}: {}", error.inner())),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(body))
}

/// Airflow 2 passes on what Python writes for numbers that JSON has no word for: here they are null. None when the body
/// holds no such number.
fn without_nan(body: &[u8]) -> Option<Vec<u8>> {
    const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut clean = Vec::with_capacity(body.len());
    let (mut in_text, mut is_escaped, mut found) = (false, false, false);
    let mut rest = body;
    while let [byte, behind @ ..] = rest {
        let word = NO_NUMBERS.iter().find(|word| !in_text && rest.starts_with(word));
        if let Some(word) = word {
            clean.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        in_text ^= *byte == b'"' && !is_escaped;
        is_escaped = in_text && *byte == b'\\' && !is_escaped;
        clean.push(*byte);
        rest = behind;
    }
    found.then_some(clean)
}

/// The body of a good answer, or none when Airflow itself says that there is no such thing. A 404 of something before
/// Airflow is an error: it must never look like a deletion.
pub(super) fn expect_if_found<T: DeserializeOwned>(answer: &Answer) -> Result<Option<T>, ProviderError> {
    match answer.status {
        404 if is_airflows(&answer.body) => Ok(None),
        404 => {
            Err(ProviderError::Malformed { reason: "404, and not in the words of Airflow's API".to_owned() })
        }
        _ => expect(answer).map(Some),
    }
}

/// The error of an answer that is not a good one.
pub(super) fn refused(answer: &Answer) -> ProviderError {
    let (status, message) = (answer.status, message(&answer.body));
    match status {
        401 => ProviderError::CredentialsRefused { status, message },
        403 if refuses_token(&message) => ProviderError::CredentialsRefused { status, message },
        403 => ProviderError::Forbidden { status, message },
        _ => ProviderError::Refused { status, message },
    }
}

/// Whether a 403 is not about rights: Airflow 3 says so of a token that it cannot read.
pub(super) fn refuses_token(message: &str) -> bool {
    message.to_ascii_lowercase().contains("jwt")
}

/// The error of a redirect, which is never followed: it could lead anywhere, with the credentials.
pub(super) fn redirect(status: u16, location: Option<&HeaderValue>) -> ProviderError {
    let location = location.and_then(|location| location.to_str().ok()).unwrap_or_default();
    let target = match Url::parse(location) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            // Neither can fail on a URL that has a host; one without cannot hold them.
            let _ = (url.set_username(""), url.set_password(None));
            url.to_string()
        }
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    ProviderError::Malformed { reason: format!("{status}, a redirect to {}", shortened(&target)) }
}

/// One clean sentence out of a refusal's body.
pub(super) fn message(body: &[u8]) -> String {
    if looks_like_html(body) {
        return html_title(body).unwrap_or_else(|| "an HTML page".to_owned());
    }
    let text = match detail(body) {
        Some(detail) => words(&detail),
        None => Some(String::from_utf8_lossy(body).into_owned()),
    };
    let text = text.map(|text| shortened(&text)).filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "no reason given".to_owned())
}

/// Whether it is the refusal of an existing route: one that is not there says `error` instead, a proxy something else.
fn is_airflows(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|said| said.get("detail").is_some_and(Value::is_string))
}

/// What Airflow's own errors carry: `detail`, in Airflow 2 beside a `title`, elsewhere `error`.
fn detail(body: &[u8]) -> Option<Value> {
    let mut said = serde_json::from_slice::<Value>(body).ok()?;
    let said = said.as_object_mut()?;
    let detail = said.remove("detail");
    match detail {
        Some(Value::Null) | None => said.remove("title").or_else(|| said.remove("error")).or(detail),
        detail => detail,
    }
}

/// A `detail` is a string, a list of faults with their places, or an object that may hold SQL nobody should see.
fn words(detail: &Value) -> Option<String> {
    match detail {
        Value::String(text) => Some(text.clone()),
        Value::Array(faults) => {
            let faults: Vec<_> = faults.iter().take(5).filter_map(fault).collect();
            Some(faults.join("; "))
        }
        Value::Object(said) => {
            ["reason", "message", "msg"].iter().find_map(|key| said.get(*key)?.as_str().map(str::to_owned))
        }
        _ => None,
    }
}

fn fault(fault: &Value) -> Option<String> {
    let Value::Object(said) = fault else { return words(fault) };
    let message = said.get("msg")?.as_str()?;
    let place: Vec<_> = said
        .get("loc")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|part| {
            part.as_str().map(str::to_owned).or_else(|| part.as_i64().map(|part| part.to_string()))
        })
        .filter(|part| part != "body")
        .collect();
    Some(if place.is_empty() { message.to_owned() } else { format!("{}: {message}", place.join(".")) })
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

fn html_title(body: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(body);
    let (_, rest) = page.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(format!("a page titled \"{}\"", shortened(title)))
}

/// On one line, and cut where it gets long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
