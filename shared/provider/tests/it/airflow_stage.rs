//! A server that answers with what real Airflows were recorded to answer, and a provider opened on it.

use std::path::Path;

use chrono::{DateTime, Utc};
use contract::events::{Observation, Source};
use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Credentials, Secrets};
use provider::{NetworkPolicy, Page, PageToken, Provider, ProviderError, open};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

pub const PASSWORD: &str = "canary-password";
pub const TOKEN: &str = "canary-token";

/// The body that a release was recorded to give.
pub fn recorded(release: &str, name: &str) -> String {
    let file = format!("{}/tests/fixtures/airflow-{release}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(Path::new(&file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// An answer as a server of that kind gives it, its clock included.
pub fn answer(status: u16, body: impl Into<String>) -> ResponseTemplate {
    let body = body.into();
    let kind = if body.trim_start().starts_with('<') { "text/html" } else { "application/json" };
    ResponseTemplate::new(status)
        .set_body_raw(body, kind)
        .insert_header("date", "Tue, 24 Nov 2026 00:30:00 GMT")
}

/// A GET of this path gives this recorded body.
pub async fn give(server: &MockServer, at: &str, status: u16, release: &str, name: &str) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(answer(status, recorded(release, name)))
        .mount(server)
        .await;
}

/// A server of that release, which lets us in.
pub async fn airflow_of(release: &str) -> MockServer {
    let server = MockServer::start().await;
    if release.starts_with('2') {
        give(&server, "/api/v2/version", 404, release, "no_route.html").await;
        give(&server, "/api/v1/version", 200, release, "version.json").await;
    } else {
        give(&server, "/api/v2/version", 200, release, "version.json").await;
        log_in(&server).await;
    }
    server
}

/// The right password yields the token.
pub async fn log_in(server: &MockServer) {
    Mock::given(method("POST"))
        .and(path("/auth/token"))
        .respond_with(answer(201, json!({"access_token": TOKEN}).to_string()))
        .mount(server)
        .await;
}

pub fn basic() -> Credentials {
    Credentials::Basic { username: "admin".to_owned(), password: PASSWORD.into() }
}

/// A provider on a server of this machine.
pub fn provider(url: &str) -> Box<dyn Provider> {
    provider_as(url, &basic())
}

pub fn provider_as(url: &str, credentials: &Credentials) -> Box<dyn Provider> {
    open_at(url, credentials, NetworkPolicy { allow_private_networks: true }).unwrap()
}

pub fn open_at(
    url: &str,
    credentials: &Credentials,
    network: NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    open_with(json!({"base_url": url}), &credentials.clone().into(), network)
}

pub fn open_with(
    config: Value,
    secrets: &Secrets,
    network: NetworkPolicy,
) -> Result<Box<dyn Provider>, ProviderError> {
    let config: ConnectorConfig = serde_json::from_value(config).unwrap();
    let source = Source { space: "demo".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    open(&config, secrets, source, network)
}

/// The observation that all of these tests make.
pub fn seen() -> Observation {
    Observation { version: 7, at: time("2026-11-24T00:30:00Z") }
}

pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// All items of a list, and how many pages it took.
pub async fn all<T, F>(mut page: impl FnMut(Option<PageToken>) -> F) -> (Vec<T>, usize)
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
