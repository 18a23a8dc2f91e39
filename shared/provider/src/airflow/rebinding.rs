//! A name that comes to mean another address is caught before every request, whatever it belongs to: the test of a
//! connector, a sync, a trigger.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Addrs, Name, Resolving};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use contract::ids::ConnectorId;

/// Means the server so many times, and a metadata service from then on.
struct Flipping(AtomicUsize);

impl Resolve for Flipping {
    fn resolve(&self, _: Name) -> Resolving {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let address = if left.is_ok() { [127, 0, 0, 1] } else { [169, 254, 169, 254] };
        Box::pin(async move { Ok(Box::new(std::iter::once(SocketAddr::from((address, 0)))) as Addrs) })
    }
}

/// Ends every connection, so that the next request looks the name up again.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let body = |status: u16, body: Value| {
        ResponseTemplate::new(status).set_body_json(body).insert_header("connection", "close")
    };
    let run = json!({"dag_id": "p", "dag_run_id": "r", "state": "queued", "run_type": "manual", "logical_date": null,
                     "run_after": "2026-01-01T05:00:00Z", "queued_at": "2026-01-01T05:00:00Z", "conf": {}, "note": null});
    let answers = [
        ("GET", "/api/v2/version", body(200, json!({"version": "3.1.8"}))),
        ("POST", "/auth/token", body(201, json!({"access_token": "x.y.z"}))),
        ("GET", "/api/v2/dags", body(200, json!({"dags": [], "total_entries": 0}))),
        ("POST", "/api/v2/dags/p/dagRuns", body(200, run)),
    ];
    for (verb, place, answer) in answers {
        Mock::given(method(verb)).and(path(place)).respond_with(answer).mount(&server).await;
    }
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    server
}

fn provider(server: &MockServer, right: usize) -> Airflow {
    let url = format!("http://airflow.example:{}", server.address().port());
    let config = serde_json::from_value(json!({"base_url": url})).unwrap();
    let credentials = Credentials::Basic { username: "svc".to_owned(), password: "secret".into() };
    let source = Source { space: "finance".to_owned(), connector_id: ConnectorId(Uuid::nil()) };
    let network = NetworkPolicy { allow_private_networks: true };
    Airflow::new(&config, &credentials.into(), source, network, Arc::new(Flipping(right.into()))).unwrap()
}

/// Has the name flip before each request in turn; how many requests it takes when it does not.
async fn flip_everywhere<T>(call: impl AsyncFn(Airflow) -> Result<T, ProviderError>) -> usize {
    for right in 0.. {
        let server = server().await;
        match call(provider(&server, right)).await {
            Ok(_) => return right,
            Err(ProviderError::Denied { address, .. }) => assert_eq!(address, "169.254.169.254"),
            Err(error) => panic!("{error}"),
        }
        // Neither the password nor anything else goes there.
        assert_eq!(server.received_requests().await.unwrap().len(), right);
    }
    unreachable!("the call ends")
}

fn seen() -> Observation {
    Observation { version: 1, at: DateTime::UNIX_EPOCH }
}

#[tokio::test]
async fn a_flip_is_caught_before_every_request_of_a_test_a_sync_and_a_trigger() {
    assert!(flip_everywhere(async |airflow| airflow.probe().await).await > 2);
    assert!(flip_everywhere(async |airflow| airflow.pipelines(seen(), None).await).await > 2);
    let command = TriggerCommand { run: "r".to_owned(), logical_date: None, conf: json!({}), note: None };
    assert!(flip_everywhere(async |airflow| airflow.trigger("p", &command, seen()).await).await > 2);
}
