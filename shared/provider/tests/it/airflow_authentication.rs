//! Authentication: credentials, tokens, additional headers, and their absence from the log.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provider::connector::{Credentials, Secrets};
use provider::{Provider, ProviderError};
use serde_json::json;
use wiremock::matchers::{header, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_server::{
    ANY_NETWORK, DAGS, TOKEN, basic, list_pipelines_error, mock_dags, mock_get, observation, open_with,
    probe, provider, provider_as, recorded, response, start_airflow,
};
use crate::identity_provider::{client, identity_provider};

#[tokio::test]
async fn additional_headers_are_sent_with_every_request() {
    let server = MockServer::start().await;
    let gate = || header("x-gate", "canary-gate");
    for (verb, at, body) in [
        ("GET", "/team/a/api/v2/version", recorded("3.3", "version.json")),
        ("POST", "/team/a/auth/token", json!({"access_token": TOKEN}).to_string()),
        ("GET", "/team/a/api/v2/dags", recorded("3.3", "dags.json")),
    ] {
        Mock::given(method(verb))
            .and(path(at))
            .and(gate())
            .respond_with(response(200, body))
            .expect(1)
            .mount(&server)
            .await;
    }
    let mut secrets = Secrets::from(basic());
    secrets.headers.insert("X-Gate".to_owned(), "canary-gate".into());
    let config = json!({"base_url": format!("{}/team/a/", server.uri())});
    let airflow = open_with(config, &secrets, ANY_NETWORK).unwrap();
    airflow.pipelines(observation(), None).await.unwrap();
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once() {
    for (status, name) in [(401, "not_authenticated.json"), (403, "invalid_token.json")] {
        let server = start_airflow("3.3").await;
        let refused = response(status, recorded("3.3", name));
        Mock::given(path(DAGS)).respond_with(refused).up_to_n_times(1).mount(&server).await;
        mock_dags(&server, response(200, recorded("3.3", "dags.json")), 1).await;
        let airflow = provider(&server.uri());
        airflow.pipelines(observation(), None).await.unwrap();
        assert_eq!(airflow.requests(), 5, "the version, and twice a login and a request");
    }
}

#[tokio::test]
async fn a_token_rejected_twice_is_an_error() {
    let error = list_pipelines_error(response(401, recorded("3.3", "not_authenticated.json")), 2).await;
    assert!(matches!(error, ProviderError::CredentialsRefused { status: 401, .. }), "{error}");
}

const FORBIDDEN: &str = r#"{"detail":"Forbidden"}"#;

/// With some login services, a server answers everything with 500 or a plain 403 once the token behind ours
/// has expired.
#[tokio::test]
async fn a_token_that_no_call_accepts_any_more_is_renewed_once() {
    let refusals = [(500, String::new(), 3), (403, FORBIDDEN.to_owned(), 1)];
    for (status, body, attempts) in refusals {
        let server = start_airflow("3.3").await;
        mock_times(&server, response(200, recorded("3.3", "dags.json")), 1).await;
        mock_times(&server, response(status, body), attempts).await;
        mock_get(&server, DAGS, 200, "3.3", "dags.json").await;
        let airflow = provider(&server.uri());
        airflow.clock().await.unwrap();
        airflow.clock().await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(logins(&server).await, 2, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_fails_with_a_new_token_too_is_not_logged_in_to_again() {
    let server = start_airflow("3.3").await;
    mock_times(&server, response(200, recorded("3.3", "dags.json")), 1).await;
    Mock::given(path(DAGS)).respond_with(response(403, FORBIDDEN)).mount(&server).await;
    let airflow = provider(&server.uri());
    airflow.clock().await.unwrap();
    for _ in 0..3 {
        let error = airflow.clock().await.unwrap_err();
        assert!(matches!(error, ProviderError::Forbidden { .. }), "{error}");
    }
    assert_eq!(logins(&server).await, 2);
}

#[tokio::test]
async fn a_run_of_failures_in_the_middle_of_a_sync_renews_the_token() {
    let server = start_airflow("3.3").await;
    mock_get(&server, DAGS, 200, "3.3", "dags.json").await;
    let airflow = provider(&server.uri());
    airflow.clock().await.unwrap();
    Mock::given(path_regex("/tasks")).respond_with(response(403, FORBIDDEN)).mount(&server).await;
    for _ in 0..20 {
        airflow.tasks("d").await.unwrap_err();
    }
    assert_eq!(logins(&server).await, 2, "once, since the new token has not worked yet");
}

/// Only Airflow's own answers to a wrong password mark the credentials as refused.
#[tokio::test]
async fn a_login_that_fails_for_another_reason_is_tried_again() {
    for status in [400, 401, 422, 403, 408, 413, 421, 425, 451] {
        let server = MockServer::start().await;
        mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
        Mock::given(path("/auth/token")).respond_with(response(status, "{}")).mount(&server).await;
        let error = provider(&server.uri()).clock().await.unwrap_err();
        let is_refusal = matches!(error, ProviderError::CredentialsRefused { .. });
        assert_eq!(is_refusal, [400, 401, 422].contains(&status), "{status}: {error}");
        assert_eq!(error.is_transient(), !is_refusal, "{status}: {error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    for page in ["<html><title>Web firewall</title></html>", "blocked"] {
        let server = start_airflow("2.11").await;
        Mock::given(path("/api/v1/dags")).respond_with(response(403, page)).mount(&server).await;
        let error = provider(&server.uri()).clock().await.unwrap_err();
        assert!(matches!(error, ProviderError::Forbidden { .. }), "{error}");
    }
}

/// Answers this many requests for DAGs.
async fn mock_times(server: &MockServer, with: ResponseTemplate, times: u64) {
    Mock::given(path(DAGS)).respond_with(with).up_to_n_times(times).mount(server).await;
}

async fn logins(server: &MockServer) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path() == "/auth/token").count()
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    for (life, logins) in [(86_400, 1), (1, 2)] {
        let server = MockServer::start().await;
        mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
        mock_get(&server, DAGS, 200, "3.3", "dags.json").await;
        let claims = URL_SAFE_NO_PAD.encode(json!({"iat": 1000, "exp": 1000 + life}).to_string());
        Mock::given(method("POST"))
            .and(path("/auth/token"))
            .respond_with(response(201, json!({"access_token": format!("e30.{claims}.c2ln")}).to_string()))
            .expect(logins)
            .mount(&server)
            .await;
        let airflow = provider(&server.uri());
        airflow.pipelines(observation(), None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        airflow.pipelines(observation(), None).await.unwrap();
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_login_and_four_connections() {
    let server = MockServer::start().await;
    mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    Mock::given(path("/auth/token"))
        .respond_with(response(201, json!({"access_token": TOKEN}).to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let listed = response(200, recorded("3.3", "dags.json")).set_delay(Duration::from_millis(300));
    mock_dags(&server, listed, 12).await;
    let airflow: Arc<dyn Provider> = provider(&server.uri()).into();
    let started = Instant::now();
    let polls = (0..12).map(|_| {
        let airflow = Arc::clone(&airflow);
        tokio::spawn(async move { airflow.pipelines(observation(), None).await.unwrap() })
    });
    futures::future::join_all(polls).await;
    assert!(started.elapsed() >= Duration::from_millis(900), "twelve, four at a time");
}

#[tokio::test]
async fn credentials_are_sent_as_each_version_expects() {
    let basic_header = "Basic YWRtaW46Y2FuYXJ5LXBhc3N3b3Jk";
    let bearer = format!("Bearer {TOKEN}");
    let token = Credentials::Token { token: TOKEN.into() };
    for (server, at, credentials, expected) in [
        (start_airflow("2.11").await, "/api/v1/dags", basic(), basic_header),
        (start_airflow("2.11").await, "/api/v1/dags", token.clone(), &bearer),
        (start_airflow("3.3").await, DAGS, basic(), &bearer),
        (start_airflow("3.3").await, DAGS, token, &bearer),
    ] {
        Mock::given(path(at))
            .and(header("authorization", expected))
            .respond_with(response(200, recorded("3.3", "dags.json")))
            .expect(1)
            .mount(&server)
            .await;
        provider_as(&server.uri(), &credentials).clock().await.unwrap();
    }
}

#[tokio::test]
async fn rejected_credentials_differ_from_missing_permissions() {
    let mut errors = Vec::new();
    let server = MockServer::start().await;
    mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    let refused = response(401, recorded("3.3", "login_refused.json"));
    Mock::given(path("/auth/token")).respond_with(refused).expect(1).mount(&server).await;
    errors.push(probe(provider(&server.uri()).as_ref()).await.unwrap_err());

    let server = MockServer::start().await;
    mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    errors.push(probe(provider(&server.uri()).as_ref()).await.unwrap_err());

    let server = start_airflow("2.11").await;
    mock_get(&server, "/api/v1/dags", 403, "2.11", "login_refused.json").await;
    errors.push(probe(provider(&server.uri()).as_ref()).await.unwrap_err());

    let server = start_airflow("3.3").await;
    mock_get(&server, DAGS, 403, "3.3", "invalid_token.json").await;
    let token = Credentials::Token { token: TOKEN.into() };
    errors.push(probe(provider_as(&server.uri(), &token).as_ref()).await.unwrap_err());
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(errors.join("\n"));
}

/// The log of all modules at level trace.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_logged() {
    let log = LogBuffer::default();
    let writer = log.clone();
    let lines =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(lines.finish());
    for server in [start_airflow("3.3").await, start_airflow("2.11").await] {
        let (_idp, url) = identity_provider(response(401, "{}")).await;
        for credentials in [basic(), Credentials::Token { token: TOKEN.into() }, client(&url)] {
            let mut secrets = Secrets::from(credentials);
            secrets.headers.insert("x-gate".to_owned(), "canary-header".into());
            let airflow = open_with(json!({"base_url": server.uri()}), &secrets, ANY_NETWORK).unwrap();
            tracing::info!(?secrets, error = %probe(airflow.as_ref()).await.unwrap_err(), "probed");
        }
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("probed"), "the log is not empty");
    assert!(!text.contains("canary") && !text.contains("YWRtaW46"), "{text}");
    assert!(!text.contains("YSt3b3"), "{text}");
}

/// A proxy for debugging sends back what it got, headers and all.
#[tokio::test]
async fn no_secret_is_in_an_error_whatever_the_provider_echoes() {
    let header = "canary \"header\" %";
    let echoed = format!(
        "{} password canary-password, header {header}, quoted {}, encoded {}, \
         basic YWRtaW46Y2FuYXJ5LXBhc3N3b3Jk, token {TOKEN}",
        "x".repeat(200),
        json!(header),
        "canary%20%22header%22%20%25",
    );
    for status in [200, 302, 400, 401, 403, 404, 409, 429] {
        for body in [echoed.clone(), json!({ "detail": echoed }).to_string(), json!(echoed).to_string()] {
            for release in ["3.3", "2.11"] {
                let server = start_airflow(release).await;
                // Airflow 2 has given out no token.
                let body = if release == "2.11" { body.replace(TOKEN, "") } else { body.clone() };
                let answer = response(status, body).insert_header("location", "/canary-password/");
                Mock::given(path_regex("/dags")).respond_with(answer).mount(&server).await;
                let mut secrets = Secrets::from(basic());
                secrets.headers.insert("x-gate".to_owned(), header.into());
                let airflow = open_with(json!({"base_url": server.uri()}), &secrets, ANY_NETWORK).unwrap();
                let error = airflow.pipelines(observation(), None).await.unwrap_err();
                let text = format!("{error} {error:?}");
                assert!(!text.contains("canary") && !text.contains("YWRtaW46"), "{status} {release}: {text}");
            }
        }
    }
}
