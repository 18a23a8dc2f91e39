//! The HTTP client of one Airflow server: limits, time-outs, retries and metrics. `session` authenticates;
//! `error_body` and the API versions interpret the responses.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use reqwest::dns::Resolve;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::error_body;
use super::rate_limit::RateLimiter;
use crate::address::PolicedResolver;
use crate::connector::ConnectorConfig;
use crate::{NetworkPolicy, ProviderError, check_base_url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a decoded response body, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// Maximum size of the body of an error response, in bytes; the rest is not read.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// No longer wait that the provider asks for holds other requests back.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The HTTP client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// No request takes longer, and no retry starts later than this after the first attempt.
    timeout: Duration,
    permits: Semaphore,
    rate_limiter: RateLimiter,
    sent: AtomicU64,
}

/// A complete response. Statuses 429 and 5xx are errors instead.
pub(super) struct Response {
    pub status: u16,
    /// The server's clock, to the second.
    date: Option<DateTime<Utc>>,
    pub body: Vec<u8>,
}

impl Response {
    /// # Errors
    /// When the response has no `Date` header: the start of the next poll depends on the server's clock.
    pub(super) fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        let reason = "it has no Date header, which a proxy must not take away";
        self.date.ok_or_else(|| ProviderError::malformed(reason))
    }
}

impl Client {
    /// Sends no request. These headers are sent with every request; `resolver` resolves the host name.
    pub(crate) fn new(
        config: &ConnectorConfig,
        headers: &BTreeMap<String, SecretString>,
        network: NetworkPolicy,
        resolver: Arc<dyn Resolve>,
        timeout: Duration,
    ) -> Result<Self, ProviderError> {
        check_base_url(&config.base_url, network)?;
        let http = reqwest::Client::builder()
            .default_headers(default_headers(headers)?)
            .user_agent(concat!("orchestration/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_danger_accept_invalid_certs(!config.verify_tls)
            .dns_resolver(Arc::new(PolicedResolver { policy: network, inner: resolver }))
            .build()
            .map_err(|error| {
                ProviderError::Misconfigured(format!(
                    "TLS could not be set up on this machine ({}).",
                    innermost(&error)
                ))
            })?;
        Ok(Self {
            http,
            base: config.base_url.clone(),
            timeout,
            permits: Semaphore::new(config.max_requests_in_flight.into()),
            rate_limiter: RateLimiter::new(config.max_requests_per_second),
            sent: AtomicU64::new(0),
        })
    }

    /// The number of requests that were sent, failed ones included.
    pub(super) fn requests(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The URL of a path below the base URL; each segment is percent-encoded.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends a GET request, and retries it after transient errors.
    pub(super) async fn get(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, ProviderError> {
        self.send_with_retry(|| self.http.request(Method::GET, url.clone()), authorization).await
    }

    /// Sends an idempotent POST request, and retries it after transient errors.
    pub(super) async fn post_idempotent(&self, url: &Url, body: &Value) -> Result<Response, ProviderError> {
        self.send_with_retry(|| self.http.request(Method::POST, url.clone()).json(body), None).await
    }

    /// Sends a POST request without retries. The error says whether it may have been processed.
    pub(super) async fn post(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
        body: &Value,
    ) -> Result<Response, ProviderError> {
        let request = self.http.request(Method::POST, url.clone()).json(body);
        self.send(request, authorization).await
    }

    async fn send_with_retry(
        &self,
        request: impl Fn() -> RequestBuilder,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, ProviderError> {
        let started = Instant::now();
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(4.0)
            .with_max_times(2);
        (|| self.send(request(), authorization))
            .retry(backoff)
            .when(ProviderError::is_transient)
            .adjust(|error, wait| {
                let wait = wait?.max(error.retry_after());
                (started.elapsed() + wait <= self.timeout).then_some(wait)
            })
            .await
    }

    async fn send(
        &self,
        request: RequestBuilder,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, ProviderError> {
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        };
        let _permit = self.permits.acquire().await;
        self.rate_limiter.wait().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let response = request.send().await;
        let code =
            response.as_ref().map_or("none".to_owned(), |response| response.status().as_u16().to_string());
        metrics::counter!("orchestration_source_requests_total", "code" => code).increment(1);
        self.read(response.map_err(|error| self.unreachable(&error))?).await
    }

    async fn read(&self, response: reqwest::Response) -> Result<Response, ProviderError> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        if let Some(wait) = retry_after.filter(|wait| *wait <= MAX_PAUSE) {
            self.rate_limiter.pause(wait);
        }
        if status == 429 {
            let body = self.body(response).await.unwrap_or_default();
            return Err(ProviderError::Throttled { retry_after, message: error_body::message(&body) });
        }
        if response.status().is_server_error() {
            return Err(ProviderError::Failing { host: self.host(), status, retry_after, subject: None });
        }
        if response.status().is_redirection() {
            return Err(error_body::redirect(status, response.headers().get(LOCATION)));
        }
        let date = date(response.headers());
        let body = self.body(response).await?;
        Ok(Response { status, date, body })
    }

    /// Reads chunk by chunk, so that a huge body is abandoned before it fills the memory.
    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, ProviderError> {
        let is_success = response.status().is_success();
        let limit = if is_success { BODY_LIMIT } else { ERROR_BODY_LIMIT };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() <= limit {
                body.extend_from_slice(&chunk);
            } else if is_success {
                return Err(ProviderError::Oversized { mib: BODY_LIMIT / 1024 / 1024 });
            } else {
                break;
            }
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> ProviderError {
        if let Some(denied) = sources(error).find_map(|source| source.downcast_ref::<ProviderError>()) {
            return denied.clone();
        }
        let reason = match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
            (true, false) => format!("no complete answer within {:.0} s", self.timeout.as_secs_f64()),
            (false, true) => innermost(error),
            (false, false) => format!("the connection broke off: {}", innermost(error)),
        };
        let sent = !(error.is_connect() || error.is_builder());
        ProviderError::unreachable(self.host(), &reason, sent)
    }

    /// Host and port, for error texts.
    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
    }
}

/// Whether the response to a path with this id is about this id: servers decode a path before they route it,
/// and clients drop `.` and `..`.
pub(super) fn is_addressable(id: &str) -> bool {
    !["", ".", ".."].contains(&id) && !id.contains(['/', '\\', '%'])
}

/// Parses the headers and marks their values as sensitive, so that they are not logged.
fn default_headers(headers: &BTreeMap<String, SecretString>) -> Result<HeaderMap, ProviderError> {
    let header = |(name, value): (&String, &SecretString)| {
        let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    headers.iter().map(header).collect::<Option<_>>().ok_or_else(|| {
        ProviderError::Misconfigured(
            "The headers hold characters that cannot be sent; enter them again.".to_owned(),
        )
    })
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The root cause: the outer errors repeat the URL and add nothing.
fn innermost(error: &(dyn Error + 'static)) -> String {
    sources(error).last().map(ToString::to_string).unwrap_or_default()
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok().map(|date| date.to_utc())
}

/// The `Retry-After` header, in seconds or as a date; at most one day.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let wait = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - Utc::now()).to_std().ok()?,
    };
    Some(wait.min(Duration::from_secs(86_400)))
}

#[cfg(test)]
mod tests {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::super::scripted_resolver::ScriptedResolver;
    use super::*;

    /// A server that closes every connection, and a client that resolves its name through these addresses.
    async fn client(addresses: &[&[&str]]) -> (MockServer, Client) {
        let server = MockServer::start().await;
        let closing = ResponseTemplate::new(200).insert_header("connection", "close");
        Mock::given(matchers::any()).respond_with(closing).mount(&server).await;
        let url = format!("http://airflow.example:{}", server.address().port());
        let config = serde_json::from_value(serde_json::json!({"base_url": url})).unwrap();
        let network = NetworkPolicy { allow_private_networks: true };
        let resolver = Arc::new(ScriptedResolver::new(addresses));
        let client =
            Client::new(&config, &BTreeMap::new(), network, resolver, Duration::from_secs(30)).unwrap();
        (server, client)
    }

    #[tokio::test]
    async fn a_name_rebound_to_a_metadata_service_is_denied() {
        let (server, client) = client(&[&["127.0.0.1"], &["169.254.169.254"]]).await;
        let url = client.url(&["api"]);
        assert_eq!(client.get(&url, None).await.map(|response| response.status), Ok(200));
        let error = client.get(&url, None).await.map(|response| response.status).unwrap_err();
        assert!(
            matches!(&error, ProviderError::Denied { address, .. } if address == "169.254.169.254"),
            "{error}"
        );
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn only_allowed_addresses_of_a_name_are_used() {
        let (_server, client) = client(&[&["::ffff:169.254.169.254", "fe80::1", "127.0.0.1"]]).await;
        assert_eq!(client.get(&client.url(&[]), None).await.map(|response| response.status), Ok(200));
    }

    #[tokio::test]
    async fn every_path_segment_is_percent_encoded() {
        let (_server, client) = client(&[&["127.0.0.1"]]).await;
        let url = client.url(&["dags", "a/b?c#d%e f", "scheduled__2026-01-01T00:00:00+00:00"]);
        assert_eq!(url.path(), "/dags/a%2Fb%3Fc%23d%25e%20f/scheduled__2026-01-01T00:00:00+00:00");
    }
}
