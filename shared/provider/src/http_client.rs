//! What the HTTP clients of this crate share: the settings of connections, the bounded body of a response,
//! the cause of an error, and the wait that a response asks for.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::ClientBuilder;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::ProviderError;
use crate::address::PolicedResolver;

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait that is taken from a response.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Returns the settings of all connections. No request takes longer than `timeout`. Redirects are not
/// followed, because they could send credentials anywhere.
pub(crate) fn builder(resolver: PolicedResolver, timeout: Duration) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("orchestration/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(resolver))
}

/// Returns the settings of connections that go through the proxy of the network policy, if it has one.
pub(crate) fn proxied_builder(
    resolver: PolicedResolver,
    timeout: Duration,
) -> Result<ClientBuilder, ProviderError> {
    let (proxy, host) = resolver.policy.proxy_settings()?.unzip();
    let builder = builder(PolicedResolver { proxy: host, ..resolver }, timeout);
    Ok(proxy.into_iter().fold(builder, ClientBuilder::proxy))
}

/// Builds a client.
pub(crate) fn build(builder: ClientBuilder) -> Result<reqwest::Client, ProviderError> {
    builder.build().map_err(|error| {
        let reason = innermost(&error);
        ProviderError::Misconfigured(format!("TLS could not be set up on this machine ({reason})."))
    })
}

/// Reads a body chunk by chunk, so that a huge one is abandoned before it fills the memory. Returns whether
/// it is whole.
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

/// The error of the network policy, if it denied the address.
pub(crate) fn denied(error: &reqwest::Error) -> Option<ProviderError> {
    sources(error).find_map(|source| source.downcast_ref::<ProviderError>()).cloned()
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The root cause: the outer errors repeat the URL and add nothing.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    sources(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The `Retry-After` header, in seconds or as a date; at most one day.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let wait = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - Utc::now()).to_std().ok()?,
    };
    Some(wait.min(MAX_RETRY_AFTER))
}
