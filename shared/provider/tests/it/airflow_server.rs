//! Mock servers with responses recorded from real Airflows, and providers opened on them.

use std::path::Path;

use chrono::{DateTime, Utc};
use contract::events::{Observation, Source};
use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Credentials, Secrets};
use provider::{AllowedNetworks, NetworkPolicy, Page, PageToken, Provider, ProviderError, open};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate, Times};

pub(crate) const PASSWORD: &str = "canary-password";
pub(crate) const TOKEN: &str = "canary-token";
pub(crate) const DAGS: &str = "/api/v2/dags";
pub(crate) const ANY_NETWORK: NetworkPolicy = NetworkPolicy {
    allow_private_networks: true,
    allowed_networks: AllowedNetworks(Vec::new()),
    allow_loopback: false,
    proxy: None,
    no_proxy: None,
};

/// A response body recorded from a release.
pub(crate) fn recorded(release: &str, name: &str) -> String {
    let file = format!("{}/tests/fixtures/airflow-{release}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(Path::new(&file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A response with content type and `Date` header.
pub(crate) fn response(status: u16, body: impl Into<String>) -> ResponseTemplate {
    let body = body.into();
    let kind = if body.trim_start().starts_with('<') { "text/html" } else { "application/json" };
    ResponseTemplate::new(status)
        .set_body_raw(body, kind)
        .insert_header("date", "Tue, 24 Nov 2026 00:30:00 GMT")
}

/// Mocks a GET request of this path with a recorded body.
pub(crate) async fn mock_get(server: &MockServer, at: &str, status: u16, release: &str, name: &str) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(response(status, recorded(release, name)))
        .mount(server)
        .await;
}

/// The version and the clock of a server, as they are asked for before anything else.
pub(crate) async fn probe(airflow: &dyn Provider) -> Result<(String, DateTime<Utc>), ProviderError> {
    Ok((airflow.version().await?, airflow.clock().await?))
}

/// A server of this release, with its version and login endpoints.
pub(crate) async fn start_airflow(release: &str) -> MockServer {
    let server = MockServer::start().await;
    if release.starts_with('2') {
        mock_get(&server, "/api/v2/version", 404, release, "no_route.html").await;
        mock_get(&server, "/api/v1/version", 200, release, "version.json").await;
    } else {
        mock_get(&server, "/api/v2/version", 200, release, "version.json").await;
        mock_login(&server).await;
    }
    server
}

/// Mocks the login endpoint.
pub(crate) async fn mock_login(server: &MockServer) {
    Mock::given(method("POST"))
        .and(path("/auth/token"))
        .respond_with(response(201, json!({"access_token": TOKEN}).to_string()))
        .mount(server)
        .await;
}

pub(crate) fn basic() -> Credentials {
    Credentials::Basic { username: "admin".to_owned(), password: PASSWORD.into() }
}

/// A provider on a local server.
pub(crate) fn provider(url: &str) -> Box<dyn Provider> {
    provider_as(url, &basic())
}

pub(crate) fn provider_as(url: &str, credentials: &Credentials) -> Box<dyn Provider> {
    open_url(url, credentials, ANY_NETWORK).unwrap()
}

pub(crate) fn open_url(
    url: &str,
    credentials: &Credentials,
    network: NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    open_with(json!({"base_url": url}), &credentials.clone().into(), network)
}

pub(crate) fn open_with(
    config: Value,
    secrets: &Secrets,
    network: NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    let config: ConnectorConfig = serde_json::from_value(config).unwrap();
    let source = Source { space: "demo".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    open(&config, secrets, source, &network)
}

/// A value as JSON with its own digits, for snapshots.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The observation of all tests.
pub(crate) fn observation() -> Observation {
    Observation { version: 7, at: time("2026-11-24T00:30:00Z") }
}

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// All items of a list, and the number of pages.
pub(crate) async fn read_all_pages<T, F>(mut page: impl FnMut(Option<PageToken>) -> F) -> (Vec<T>, usize)
where
    F: Future<Output = Result<Page<T>, ProviderError>>,
{
    let (mut items, mut pages, mut next) = (Vec::new(), 0, None);
    loop {
        let found = page(next).await.unwrap();
        items.extend(found.items);
        pages += 1;
        next = found.next;
        if next.is_none() {
            return (items, pages);
        }
    }
}

/// Mocks the list of DAGs, and expects this many requests.
pub(crate) async fn mock_dags(server: &MockServer, with: ResponseTemplate, times: impl Into<Times>) {
    Mock::given(path(DAGS)).respond_with(with).expect(times).mount(server).await;
}

/// The error of listing pipelines if the server responds like this, after this many requests.
pub(crate) async fn list_pipelines_error(with: ResponseTemplate, times: u64) -> ProviderError {
    let server = start_airflow("3.3").await;
    mock_dags(&server, with, times).await;
    let error = provider(&server.uri()).pipelines(observation(), None).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "the error contains a secret: {error:?}");
    error
}
