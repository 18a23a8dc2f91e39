//! The HTTP client of one Airflow server: limits, retries and metrics. `session` authenticates; `error_body`
//! and the API versions interpret the responses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::body_reader::{BODY_LIMIT, BodyReader, BodyTooLarge};
use super::error_body;
use super::rate_limit::RateLimiter;
use super::transport::{self, Transport};
use crate::connector::ConnectorConfig;
use crate::http_client::{self, retry_after};
use crate::{PagePermit, ProviderError, check_base_url};

/// Maximum size of the body of an error response, in bytes; the rest is not read.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// No longer wait that the provider asks for holds other requests back.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The HTTP client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    transport: Transport,
    base: Url,
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
    pub permit: PagePermit,
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
    /// Sends no request. These headers are sent with every request.
    pub(crate) fn new(
        config: &ConnectorConfig,
        headers: &BTreeMap<String, SecretString>,
        transport: Transport,
    ) -> Result<Self, ProviderError> {
        check_base_url(&config.base_url, &transport.resolver.policy)?;
        let http = transport
            .client_builder()?
            .default_headers(default_headers(headers)?)
            .tls_danger_accept_invalid_certs(!config.verify_tls);
        Ok(Self {
            http: http_client::build(http)?,
            transport,
            base: config.base_url.clone(),
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

    /// Sends a GET request, and retries it after these errors. A body of more bytes than `max_body` is not
    /// read to its end.
    pub(super) async fn get_with_retries(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
        max_body: usize,
        is_retried: impl FnMut(&ProviderError) -> bool,
    ) -> Result<Response, ProviderError> {
        let request = || self.http.request(Method::GET, url.clone());
        self.send_with_retry(request, authorization, max_body, is_retried).await
    }

    /// Sends an idempotent POST request, and retries it after transient errors.
    pub(super) async fn post_idempotent(&self, url: &Url, body: &Value) -> Result<Response, ProviderError> {
        let request = || self.http.request(Method::POST, url.clone()).json(body);
        self.send_with_retry(request, None, BODY_LIMIT, ProviderError::is_transient).await
    }

    /// Sends a POST request without retries. The error says whether it may have been processed.
    pub(super) async fn post(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
        body: &(impl Serialize + Sync),
    ) -> Result<Response, ProviderError> {
        let request = self.http.request(Method::POST, url.clone()).json(body);
        self.send(request, authorization, BODY_LIMIT).await
    }

    async fn send_with_retry(
        &self,
        request: impl Fn() -> RequestBuilder,
        authorization: Option<&HeaderValue>,
        max_body: usize,
        is_retried: impl FnMut(&ProviderError) -> bool,
    ) -> Result<Response, ProviderError> {
        let started = Instant::now();
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(4.0)
            .with_max_times(2);
        (|| self.send(request(), authorization, max_body))
            .retry(backoff)
            .when(is_retried)
            .adjust(|error, wait| {
                let wait = wait?.max(error.retry_after());
                (started.elapsed() + wait <= self.transport.timeout).then_some(wait)
            })
            .await
    }

    async fn send(
        &self,
        request: RequestBuilder,
        authorization: Option<&HeaderValue>,
        max_body: usize,
    ) -> Result<Response, ProviderError> {
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        };
        self.transport.resolver.check_target(&self.base).await?;
        let _permit = self.permits.acquire().await;
        self.rate_limiter.wait().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let response = request.send().await;
        let code =
            response.as_ref().map_or("none".to_owned(), |response| response.status().as_u16().to_string());
        metrics::counter!("orchestration_source_requests_total", "code" => code).increment(1);
        self.read(response.map_err(|error| self.unreachable(&error))?, max_body).await
    }

    async fn read(&self, response: reqwest::Response, max_body: usize) -> Result<Response, ProviderError> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        if let Some(wait) = retry_after.filter(|wait| *wait <= MAX_PAUSE) {
            self.rate_limiter.pause(wait);
        }
        if status == 429 {
            let (body, _) = self.body(response, max_body).await.unwrap_or_default();
            return Err(ProviderError::Throttled { retry_after, message: error_body::message(&body) });
        }
        if response.status().is_server_error() {
            return Err(ProviderError::Failing { host: self.host(), status, retry_after, subject: None });
        }
        if response.status().is_redirection() {
            return Err(error_body::redirect(status, response.headers().get(LOCATION)));
        }
        let date = date(response.headers());
        let (body, permit) = self.body(response, max_body).await?;
        Ok(Response { status, date, body, permit })
    }

    /// Reads chunk by chunk, so that a huge body is abandoned before it fills the memory.
    async fn body(
        &self,
        mut response: reqwest::Response,
        max: usize,
    ) -> Result<(Vec<u8>, PagePermit), ProviderError> {
        let is_success = response.status().is_success();
        let (mut body, mut received, mut permit) = (BodyReader::new(max), 0, PagePermit::default());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            permit.acquire(received, received + chunk.len()).await;
            received += chunk.len();
            if !is_success && received > ERROR_BODY_LIMIT {
                break;
            }
            let oversized = ProviderError::Oversized { mib: max >> 20 };
            body.push(&chunk).map_err(|BodyTooLarge| oversized)?;
        }
        Ok((body.into_body(), permit))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ProviderError {
        let sent = !(error.is_connect() || error.is_builder());
        match self.transport.failure(error) {
            Ok(reason) => ProviderError::unreachable(self.host(), &reason, sent),
            Err(denied) => denied,
        }
    }

    /// Host and port, for error texts.
    pub(super) fn host(&self) -> String {
        transport::host(&self.base)
    }
}

/// Whether the response to a path with this id is about this id: servers decode a path before they route it,
/// and clients drop `.`, `..`, and the characters at which a line ends.
pub(super) fn is_addressable(id: &str) -> bool {
    !["", ".", ".."].contains(&id) && !id.contains(['/', '\\', '%', '\t', '\n', '\r'])
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

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::super::scripted_resolver::ScriptedResolver;
    use super::*;
    use crate::NetworkPolicy;
    use crate::address::PolicedResolver;

    /// A server that closes every connection, and a client that resolves its name through these addresses.
    async fn client(addresses: &[&[&str]]) -> (MockServer, Client) {
        let server = MockServer::start().await;
        let closing = ResponseTemplate::new(200).insert_header("connection", "close");
        Mock::given(matchers::any()).respond_with(closing).mount(&server).await;
        let url = format!("http://airflow.example:{}", server.address().port());
        let config = serde_json::from_value(serde_json::json!({"base_url": url})).unwrap();
        let network = NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() };
        let client = Client::new(&config, &BTreeMap::new(), transport(network, addresses)).unwrap();
        (server, client)
    }

    fn transport(network: NetworkPolicy, addresses: &[&[&str]]) -> Transport {
        let resolver = PolicedResolver::new(Arc::new(network), Arc::new(ScriptedResolver::new(addresses)));
        let timeout = Duration::from_secs(30);
        Transport { resolver, ca_certificate: None, client_certificate: None, timeout }
    }

    /// The proxy resolves the name by itself, so the policy is applied before each request.
    #[tokio::test]
    async fn requests_go_through_the_proxy_to_allowed_addresses_only() {
        let proxy = MockServer::start().await;
        Mock::given(matchers::path("/base/api"))
            .and(matchers::header("proxy-authorization", "Basic dXNlcjpwYXNz"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&proxy)
            .await;
        let url = format!("http://user:pass@{}", proxy.address());
        let policy = NetworkPolicy { proxy: Some(url.into()), ..NetworkPolicy::default() };
        let config = serde_json::json!({"base_url": "http://airflow.example/base"});
        let config = serde_json::from_value(config).unwrap();
        let answers: [&[&str]; 3] = [&["203.0.113.7"], &["10.1.2.3"], &["169.254.169.254"]];
        let transport = transport(policy, &answers);
        let client = Client::new(&config, &BTreeMap::new(), transport).unwrap();
        let url = client.url(&["api"]);
        assert_eq!(get(&client, &url).await.map(|response| response.status), Ok(200));
        for address in ["10.1.2.3", "169.254.169.254"] {
            let error = get(&client, &url).await.map(|response| response.status).unwrap_err();
            assert!(matches!(&error, ProviderError::Denied { address: a, .. } if a == address), "{error}");
        }
        assert_eq!(proxy.received_requests().await.unwrap().len(), 1);
    }

    async fn get(client: &Client, url: &Url) -> Result<Response, ProviderError> {
        client.get_with_retries(url, None, BODY_LIMIT, ProviderError::is_transient).await
    }

    #[tokio::test]
    async fn a_name_rebound_to_a_metadata_service_is_denied() {
        let (server, client) = client(&[&["127.0.0.1"], &["169.254.169.254"]]).await;
        let url = client.url(&["api"]);
        assert_eq!(get(&client, &url).await.map(|response| response.status), Ok(200));
        let error = get(&client, &url).await.map(|response| response.status).unwrap_err();
        assert!(
            matches!(&error, ProviderError::Denied { address, .. } if address == "169.254.169.254"),
            "{error}"
        );
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn only_allowed_addresses_of_a_name_are_used() {
        let (_server, client) = client(&[&["::ffff:169.254.169.254", "fe80::1", "127.0.0.1"]]).await;
        assert_eq!(get(&client, &client.url(&[])).await.map(|response| response.status), Ok(200));
    }

    #[tokio::test]
    async fn every_path_segment_is_percent_encoded() {
        let (_server, client) = client(&[&["127.0.0.1"]]).await;
        let url = client.url(&["dags", "a/b?c#d%e f", "scheduled__2026-01-01T00:00:00+00:00"]);
        assert_eq!(url.path(), "/dags/a%2Fb%3Fc%23d%25e%20f/scheduled__2026-01-01T00:00:00+00:00");
    }
}
