//! The parameters of a pipeline, read from the provider.

use std::time::Duration;

use axum::http::Method;
use contract::ids::PipelineId;
use serde_json::{Value, json};
use testkit::{FakeList, ListBehavior};

use crate::app::{ApiSetup, TestApi};
use crate::seed::EDITOR;
use crate::trigger::start_test;

async fn read(test: &TestApi, pipeline: PipelineId) -> Value {
    let path = format!("/pipelines/{pipeline}/parameters");
    test.request(Method::GET, EDITOR, &path, Value::Null).await.expect(200)
}

#[tokio::test]
async fn parameters_have_their_defaults_and_schemas_and_no_secret() {
    let (test, _fake, pipeline) = start_test(ApiSetup::default()).await;
    let expected = json!([
        {
            "name": "day", "value": "2026-01-01", "description": "The day to load", "is_redacted": false,
            "schema": {"type": "string", "format": "date"},
        },
        {
            "name": "db_password", "value": null, "description": null, "is_redacted": true,
            "schema": {"type": "string"},
        },
        {
            "name": "limit", "value": 10, "description": "How many rows", "is_redacted": false,
            "schema": {"type": "integer", "minimum": 1},
        },
    ]);
    assert_eq!(read(&test, pipeline).await, json!({"parameters": expected, "error": null}));
}

#[tokio::test]
async fn a_failed_read_of_parameters_is_explained_within_the_time_limit() {
    let setup = ApiSetup { request_timeout: Duration::from_secs(4), ..ApiSetup::default() };
    let (test, fake, pipeline) = start_test(setup).await;
    for (behavior, expected) in [
        (ListBehavior::Reject(403), "denied access to the parameters of a pipeline (403: Forbidden)"),
        (ListBehavior::Hang, "no answer within 4s"),
    ] {
        fake.set_list_behavior(FakeList::Details, behavior);
        let response = read(&test, pipeline).await;
        assert_eq!(response["parameters"], Value::Null);
        assert!(response["error"].as_str().unwrap().contains(expected), "{response}");
    }
    test.sql("update connectors set is_active = false").await;
    assert!(read(&test, pipeline).await["error"].as_str().unwrap().contains("switched off"));
}
