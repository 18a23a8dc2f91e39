//! The test of a connector: it tries every list that a sync reads.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use testkit::{FakeAirflow, FakeList, ListBehavior, TokenGateway, TokenGatewaySettings, TunnelProxy};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::seed::{EDITOR, READER};

fn path(test: &TestApi, below: &str) -> String {
    format!("/catalog/spaces/{SPACE}/connectors/{}{below}", test.connector)
}

/// A right that is missing for one list, or a list that never answers, is found by the test of a connector
/// and not by its syncs.
#[tokio::test]
async fn a_test_tries_every_list_that_a_sync_reads() {
    let test =
        TestApi::with(ApiSetup { request_timeout: Duration::from_secs(6), ..ApiSetup::default() }).await;
    for (list, refused, hanging) in [
        (FakeList::Dags, "access to the list of pipelines", "the list of pipelines"),
        (FakeList::Tasks, "access to the tasks of a pipeline", "the tasks of a pipeline"),
        (FakeList::Runs, "access to the list of runs", "the list of runs"),
        (FakeList::TaskInstances, "access to the list of task runs", "the list of task runs"),
    ] {
        let fake = connect_fake(&test).await;
        let tested = test_connector(&test).await;
        assert_eq!(
            (&tested["success"], &tested["provider_version"]),
            (&json!(true), &json!("3.1.8")),
            "{tested}"
        );
        fake.set_list_behavior(list, ListBehavior::Reject(403));
        let message = failed_test(&test).await;
        assert!(message.contains(refused) && message.contains("right"), "{message}");
        fake.set_list_behavior(list, ListBehavior::Hang);
        let message = failed_test(&test).await;
        assert!(message.contains(hanging) && message.contains(" s"), "{message}");
    }
    for dags in [ListBehavior::Reject(403), ListBehavior::Hang] {
        let fake = connect_fake(&test).await;
        fake.set_list_behavior(FakeList::Dags, dags);
        fake.set_list_behavior(FakeList::Runs, ListBehavior::Reject(403));
        fake.set_list_behavior(FakeList::TaskInstances, ListBehavior::Hang);
        let message = failed_test(&test).await;
        for list in ["list of pipelines", "list of runs", "list of task runs"] {
            assert_eq!(message.matches(list).count(), 1, "{message}");
        }
        assert_eq!(message.matches(". ").count(), 0, "one sentence: {message}");
    }
}

/// Leads the connector to a new server, with the right password.
async fn connect_fake(test: &TestApi) -> FakeAirflow {
    let fake = FakeAirflow::start(3).await;
    let credentials = json!({"auth_type": "basic", "username": "svc", "password": "right"});
    let change = json!({"config": {"base_url": fake.url}, "credentials": credentials});
    test.send(Method::PATCH, EDITOR, &path(test, ""), Some(change)).await.expect(200);
    fake
}

async fn test_connector(test: &TestApi) -> Value {
    test.send(Method::POST, EDITOR, &path(test, "/test"), None).await.expect(200)
}

/// The message of a test that is not to succeed.
async fn failed_test(test: &TestApi) -> String {
    let tested = test_connector(test).await;
    assert_eq!(tested["success"], false, "{tested}");
    tested["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn credentials_that_no_key_opens_fail_the_test() {
    let test = TestApi::with(ApiSetup::default()).await;
    let _fake = connect_fake(&test).await;
    let success = test_connector(&test).await;
    assert!(success["latency_ms"].is_u64(), "{success}");
    test.sql("update connectors set credentials_sealed = 'broken'").await;
    let failure = test_connector(&test).await;
    assert_eq!((&failure["success"], &failure["provider_version"]), (&json!(false), &Value::Null));
    assert!(failure["message"].as_str().unwrap().contains("enter them again"), "{failure}");
}

#[tokio::test]
async fn a_key_that_only_reads_tests_no_connector() {
    let test = TestApi::new().await;
    let refused = test.send(Method::POST, READER, &path(&test, "/test"), None).await.expect(403);
    assert_eq!(refused["detail"], "This key only reads; use one that may write");
}

/// An Airflow with a certificate of a private authority, the authority, and where it listens.
async fn airflow_over_tls() -> (TokenGateway, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let certificates = local::certificates(folder.path()).await.unwrap();
    let authority = std::fs::read_to_string(&certificates.authority).unwrap();
    let gateway = TokenGateway::start(TokenGatewaySettings {
        upstream: FakeAirflow::start(1).await.url,
        is_open: true,
        certificates: Some(certificates),
        ..TokenGatewaySettings::default()
    })
    .await;
    let address = gateway.gateway.trim_start_matches("https://").to_owned();
    (gateway, authority.into(), address)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_airflow_over_tls_is_reached_through_a_tunnel_of_the_proxy_unless_it_is_excepted() {
    let (airflow, authority, address) = airflow_over_tls().await;
    let proxy = TunnelProxy::start().await;
    let host = address.split(':').next().unwrap().to_owned();
    for (no_proxy, tunnels) in [(None, true), (Some("other.example".to_owned()), true), (Some(host), false)] {
        let before = proxy.opened().len();
        let setup =
            ApiSetup { proxy: Some(proxy.url.clone()), no_proxy: no_proxy.clone(), ..ApiSetup::default() };
        let test = TestApi::with(setup).await;
        let change = json!({
            "config": {"base_url": airflow.gateway, "ca_certificate": authority},
            "credentials": {"auth_type": "none"},
        });
        test.send(Method::PATCH, EDITOR, &path(&test, ""), Some(change)).await.expect(200);
        let tested = test_connector(&test).await;
        assert_eq!(tested["success"], true, "{tested}");
        let opened = proxy.opened().split_off(before);
        assert_eq!(!opened.is_empty(), tunnels, "{no_proxy:?}: {opened:?}");
        assert!(opened.iter().all(|target| *target == address), "{opened:?}");
    }
}
