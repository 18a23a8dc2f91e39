//! OAuth 2.0 client credentials: requests to a token endpoint, its refusals, and when a token is requested
//! again.

use provider::connector::{ClientCredentials, Credentials};
use provider::{NetworkPolicy, ProviderError};
use serde_json::json;
use wiremock::matchers::{body_string, header, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_server::{
    ANY_NETWORK, DAGS, mock_get, observation, open_url, probe, provider_as, recorded, response, start_airflow,
};

const SECRET: &str = "canary secret+%";
/// The form-encoded id and secret, as the header and the body contain them.
const BASIC: &str = "Basic YSt3b3JrZXI6Y2FuYXJ5K3NlY3JldCUyQiUyNQ==";
const FORM: &str = "grant_type=client_credentials&scope=airflow+read&audience=prod";

pub(crate) fn client(url: &str) -> Credentials {
    Credentials::Oauth2(ClientCredentials {
        token_url: url.parse().unwrap(),
        client_id: "a worker".to_owned(),
        client_secret: Some(SECRET.into()),
        scope: Some("airflow read".to_owned()),
        audience: Some("prod".to_owned()),
    })
}

fn token_response(token: &str) -> ResponseTemplate {
    response(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}).to_string())
}

/// An identity provider that answers every request with this.
pub(crate) async fn identity_provider(with: ResponseTemplate) -> (MockServer, String) {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/token")).respond_with(with).mount(&server).await;
    let url = format!("{}/token", server.uri());
    (server, url)
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

/// The error of the first request to an Airflow behind this token endpoint.
async fn error_of(token_url: &str) -> ProviderError {
    let airflow = start_airflow("3.3").await;
    let error = probe(provider_as(&airflow.uri(), &client(token_url)).as_ref()).await.unwrap_err();
    assert_eq!(requests(&airflow).await, 0, "nothing is sent without a token");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("canary") && !text.contains("YSt3b3"), "{text}");
    error
}

#[tokio::test]
async fn a_token_is_requested_once_and_sent_with_every_request() {
    for release in ["3.3", "2.11"] {
        let idp = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/token"))
            .and(header("authorization", BASIC))
            .and(body_string(FORM))
            .respond_with(token_response("canary-access"))
            .expect(1)
            .mount(&idp)
            .await;
        let airflow = MockServer::start().await;
        let api = if release == "3.3" { "/api/v2" } else { "/api/v1" };
        for (at, name) in [("/version", "version.json"), ("/dags", "dags.json")] {
            Mock::given(path(format!("{api}{at}")))
                .and(header("authorization", "Bearer canary-access"))
                .respond_with(response(200, recorded(release, name)))
                .mount(&airflow)
                .await;
        }
        let other = response(404, recorded("2.11", "no_route.html"));
        Mock::given(header("authorization", "Bearer canary-access"))
            .respond_with(other)
            .mount(&airflow)
            .await;
        let provider = provider_as(&airflow.uri(), &client(&format!("{}/token", idp.uri())));
        probe(provider.as_ref()).await.unwrap();
        provider.pipelines(observation(), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_is_refused_in_the_header_authenticates_in_the_body() {
    let idp = MockServer::start().await;
    let in_body = format!("{FORM}&client_id=a+worker&client_secret=canary+secret%2B%25");
    Mock::given(body_string(in_body)).respond_with(token_response("t")).expect(1).mount(&idp).await;
    let refused = response(401, r#"{"error":"invalid_client"}"#);
    Mock::given(header("authorization", BASIC)).respond_with(refused).expect(1).mount(&idp).await;
    let airflow = start_airflow("3.3").await;
    mock_get(&airflow, DAGS, 200, "3.3", "dags.json").await;
    probe(provider_as(&airflow.uri(), &client(&idp.uri())).as_ref()).await.unwrap();
}

/// It has a client certificate in place of a secret.
#[tokio::test]
async fn a_client_without_a_secret_sends_its_id_once() {
    let idp = MockServer::start().await;
    let form = "grant_type=client_credentials&client_id=a+worker";
    let refused = response(401, r#"{"error":"invalid_client"}"#);
    Mock::given(body_string(form)).respond_with(refused).expect(1).mount(&idp).await;
    let credentials = Credentials::Oauth2(ClientCredentials {
        token_url: idp.uri().parse().unwrap(),
        client_id: "a worker".to_owned(),
        client_secret: None,
        scope: None,
        audience: None,
    });
    let error = probe(provider_as("http://127.0.0.1:9", &credentials).as_ref()).await.unwrap_err();
    assert!(matches!(error, ProviderError::CredentialsRefused { status: 401, .. }), "{error}");
    assert!(!idp.received_requests().await.unwrap()[0].headers.contains_key("authorization"));
}

/// Each names the identity provider, and not Airflow or its base URL.
#[tokio::test]
async fn errors_of_the_identity_provider_name_it() {
    let refusal = r#"{"error":"invalid_client","error_description":"canary secret+%\n is wrong"}"#;
    for (status, body, is_refusal) in [
        (400, r#"{"error":"invalid_scope"}"#, true),
        (401, refusal, true),
        (403, r#"{"error":"access_denied"}"#, true),
        (401, "", true),
        (403, "<html>a firewall</html>", false),
        (400, r#"{"error":"temporarily_unavailable"}"#, false),
        (500, refusal, false),
        (302, "", false),
        (200, "<html>a login page</html>", false),
        (200, r#"{"access_token":""}"#, false),
    ] {
        let (server, url) = identity_provider(response(status, body)).await;
        let error = error_of(&url).await;
        let host = server.address().to_string();
        let text = error.to_string();
        assert!(text.contains(&host) && text.contains("identity provider"), "{text}");
        assert!(!text.contains("base URL"), "{text}");
        let refused = matches!(error, ProviderError::CredentialsRefused { .. });
        assert_eq!((refused, error.is_transient()), (is_refusal, !is_refusal), "{status} {body}: {text}");
    }
    let error = error_of("http://127.0.0.1:9/token").await;
    assert!(
        matches!(&error, ProviderError::TokenUnavailable { host, .. } if host == "127.0.0.1:9"),
        "{error}"
    );
}

#[tokio::test]
async fn the_token_url_is_under_the_network_policy() {
    for (url, network) in
        [("http://169.254.169.254/token", ANY_NETWORK), ("http://127.0.0.1/token", NetworkPolicy::default())]
    {
        let error = open_url("http://203.0.113.1", &client(url), network).err().unwrap();
        assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
    }
    let url = "http://localhost:9/token";
    let network = NetworkPolicy::default();
    let error =
        probe(open_url("http://203.0.113.1", &client(url), network).unwrap().as_ref()).await.unwrap_err();
    assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
}

/// A refusal of Airflow, or of a gateway in front of it, that a new token may end.
#[tokio::test]
async fn a_token_is_requested_again_after_401_403_and_failures() {
    for (status, attempts) in [(401, 1), (403, 1), (500, 3)] {
        let (idp, url) = identity_provider(token_response("t")).await;
        let airflow = start_airflow("3.3").await;
        let listed = || response(200, recorded("3.3", "dags.json"));
        Mock::given(path(DAGS)).respond_with(listed()).up_to_n_times(1).mount(&airflow).await;
        let refused = response(status, r#"{"detail":"no"}"#);
        Mock::given(path(DAGS)).respond_with(refused).up_to_n_times(attempts).mount(&airflow).await;
        Mock::given(path(DAGS)).respond_with(listed()).mount(&airflow).await;
        let provider = provider_as(&airflow.uri(), &client(&url));
        provider.clock().await.unwrap();
        provider.clock().await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(requests(&idp).await, 2, "{status}");
    }
}

#[tokio::test]
async fn a_run_of_failures_over_all_calls_requests_a_token_once() {
    let (idp, url) = identity_provider(token_response("t")).await;
    let airflow = start_airflow("3.3").await;
    mock_get(&airflow, DAGS, 200, "3.3", "dags.json").await;
    Mock::given(path_regex("/(tasks|dagRuns)")).respond_with(response(403, "{}")).mount(&airflow).await;
    let provider = provider_as(&airflow.uri(), &client(&url));
    provider.clock().await.unwrap();
    for _ in 0..10 {
        provider.tasks("d").await.unwrap_err();
        provider.run("d", "r", observation()).await.unwrap_err();
    }
    assert_eq!(requests(&idp).await, 2, "once, since the new token has not worked yet");
}
