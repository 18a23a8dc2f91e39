//! DNS rebinding is detected before every request of a connector test, a sync and a trigger.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::scripted_resolver::ScriptedResolver;
use super::*;
use crate::NetworkPolicy;
use crate::address::PolicedResolver;
use contract::ids::ConnectorId;

/// A server that closes every connection, so that the next request resolves the name again.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let body = |status: u16, body: Value| {
        ResponseTemplate::new(status).set_body_json(body).insert_header("connection", "close")
    };
    let run = json!({
        "dag_id": "p", "dag_run_id": "r", "state": "queued", "run_type": "manual", "logical_date": null,
        "note": null,
        "run_after": "2026-01-01T05:00:00Z", "queued_at": "2026-01-01T05:00:00Z", "conf": {},
    });
    let responses = [
        ("GET", "/api/v2/version", body(200, json!({"version": "3.1.8"}))),
        ("POST", "/auth/token", body(201, json!({"access_token": "x.y.z"}))),
        ("GET", "/api/v2/dags", body(200, json!({"dags": [], "total_entries": 0}))),
        ("POST", "/api/v2/dags/p/dagRuns", body(200, run)),
    ];
    for (verb, endpoint, response) in responses {
        Mock::given(method(verb)).and(path(endpoint)).respond_with(response).mount(&server).await;
    }
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    server
}

/// Resolves to the server for this many lookups, and to a metadata service afterwards.
fn provider(server: &MockServer, lookups: usize) -> Airflow {
    let url = format!("http://airflow.example:{}", server.address().port());
    let config = serde_json::from_value(json!({"base_url": url})).unwrap();
    let credentials = Credentials::Basic { username: "svc".to_owned(), password: "secret".into() };
    let source = Source { space: "finance".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    let network = NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() };
    let mut addresses: Vec<&[&str]> = vec![&["127.0.0.1"]; lookups];
    addresses.push(&["169.254.169.254"]);
    let resolver = PolicedResolver::new(Arc::new(network), Arc::new(ScriptedResolver::new(&addresses)));
    let timeout = Duration::from_secs(30);
    let transport = Transport { resolver, ca_certificate: None, client_certificate: None, timeout };
    Airflow::new(&config, &credentials.into(), source, transport).unwrap()
}

/// Rebinds the name before each request in turn; returns how many requests the call sends.
async fn rebind_before_each_request<T>(call: impl AsyncFn(Airflow) -> Result<T, ProviderError>) -> usize {
    for lookups in 0.. {
        let server = server().await;
        match call(provider(&server, lookups)).await {
            Ok(_) => return lookups,
            Err(ProviderError::Denied { address, .. }) => assert_eq!(address, "169.254.169.254"),
            Err(error) => panic!("{error}"),
        }
        // Nothing is sent to the metadata service.
        assert_eq!(server.received_requests().await.unwrap().len(), lookups);
    }
    unreachable!("the call ends")
}

fn observation() -> Observation {
    Observation { version: 1, at: DateTime::UNIX_EPOCH }
}

#[tokio::test]
async fn rebinding_is_denied_before_every_request_of_a_test_a_sync_and_a_trigger() {
    let probe = async |airflow: Airflow| {
        airflow.version().await?;
        airflow.clock().await
    };
    assert!(rebind_before_each_request(probe).await > 2);
    assert!(
        rebind_before_each_request(async |airflow| airflow.pipelines(observation(), None).await).await > 2
    );
    let command = TriggerCommand {
        run: "r".to_owned(),
        logical_date: None,
        conf: RawValue::from_string("{}".to_owned()).unwrap().into(),
        note: None,
    };
    assert!(
        rebind_before_each_request(async |airflow| airflow.trigger("p", &command, observation()).await).await
            > 2
    );
}
