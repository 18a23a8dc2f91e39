//! The test of a connector: it tries every list that a sync reads.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use testkit::{FakeAirflow, FakeList, ListBehavior};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::seed::EDITOR;

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
        (FakeList::Dags, "access to the list of pipelines", None),
        (FakeList::Tasks, "access to the tasks of a pipeline", Some("the tasks of a pipeline")),
        (FakeList::Runs, "access to the list of runs", Some("the list of runs")),
        (FakeList::TaskInstances, "access to the list of task runs", Some("the list of task runs")),
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
        assert!(message.contains(hanging.unwrap_or("provider")) && message.contains(" s"), "{message}");
    }
    let fake = connect_fake(&test).await;
    fake.set_list_behavior(FakeList::Runs, ListBehavior::Reject(403));
    fake.set_list_behavior(FakeList::TaskInstances, ListBehavior::Hang);
    let message = failed_test(&test).await;
    assert!(message.contains("list of runs") && message.contains("list of task runs"), "{message}");
    assert_eq!(message.matches(". ").count(), 0, "one sentence: {message}");
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
