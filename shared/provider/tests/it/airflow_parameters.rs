//! The parameters of a DAG, in the form of each release.

use provider::{ProviderError, RunParameter};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer};

use crate::airflow_server::{ANY_NETWORK, basic, mock_get, open_with, provider, response, start_airflow};

/// Mocks the details of the DAG `outcomes`.
async fn mock_details(server: &MockServer, api: &str, status: u16, body: Value) {
    let at = format!("/api/{api}/dags/outcomes/details");
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(response(status, body.to_string()))
        .mount(server)
        .await;
}

fn parameter(name: &str, value: Value, schema: Value) -> RunParameter {
    RunParameter { name: name.to_owned(), value, description: None, schema, is_redacted: false }
}

#[tokio::test]
async fn every_release_has_the_same_parameters() {
    let schema = json!({"type": "integer", "minimum": 1});
    let wrapped = [
        (
            "2.11",
            "v1",
            json!({"__class": "airflow.models.param.Param", "value": 3, "description": "Rows",
                   "schema": schema}),
        ),
        (
            "3.1",
            "v2",
            json!({"__class": "airflow.sdk.definitions.param.Param", "value": 3, "description": "Rows",
                   "schema": schema}),
        ),
        ("3.3", "v2", json!({"value": 3, "schema": schema, "description": "Rows", "source": null})),
    ];
    for (release, api, limit) in wrapped {
        let server = start_airflow(release).await;
        // What is not wrapped is a default without a schema.
        let params = json!({"limit": limit, "plain": "text"});
        mock_details(&server, api, 200, json!({"dag_id": "outcomes", "params": params})).await;
        let found = provider(&server.uri()).parameters("outcomes").await.unwrap().unwrap();
        let expected = RunParameter {
            description: Some("Rows".to_owned()),
            ..parameter("limit", json!(3), schema.clone())
        };
        assert_eq!(found, [expected, parameter("plain", json!("text"), json!({}))], "{release}");
    }
}

/// The console's tests of its forms read the recordings, too.
#[tokio::test]
async fn parameters_of_every_kind_are_as_recorded() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        let at = format!("/api/{api}/dags/parameters/details");
        mock_get(&server, &at, 200, release, "scenario_parameters.json").await;
        let found = provider(&server.uri()).parameters("parameters").await.unwrap().unwrap();
        assert_eq!(found.len(), 22, "{release}");
        let of = |name: &str| found.iter().find(|parameter| parameter.name == name).unwrap().clone();
        assert_eq!(of("plain_list"), parameter("plain_list", json!(["a", "b"]), json!({})), "{release}");
        assert_eq!(of("rows").description.as_deref(), Some("How many rows"), "{release}");
        // A parameter without a default differs from one that may be null by its type.
        let needed = json!({"type": "string", "minLength": 2});
        assert_eq!(of("needed"), parameter("needed", json!(null), needed), "{release}");
        let note = json!({"type": ["null", "string"]});
        assert_eq!(of("note"), parameter("note", json!(null), note), "{release}");
        assert_eq!((of("api_token").is_redacted, of("api_token").value), (true, json!(null)), "{release}");
    }
}

#[tokio::test]
async fn parameters_keep_their_order_and_may_be_missing() {
    let server = start_airflow("3.3").await;
    let body = r#"{"dag_id": "outcomes", "params": {"z": 1, "a": null, "m": {"value": 2}}}"#;
    Mock::given(method("GET"))
        .and(path("/api/v2/dags/outcomes/details"))
        .respond_with(response(200, body))
        .mount(&server)
        .await;
    let found = provider(&server.uri()).parameters("outcomes").await.unwrap().unwrap();
    let names: Vec<_> = found.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
    // An object with a value but no schema is a default itself.
    assert_eq!(found[2].value, json!({"value": 2}));

    let server = start_airflow("3.3").await;
    mock_details(&server, "v2", 200, json!({"dag_id": "outcomes"})).await;
    assert_eq!(provider(&server.uri()).parameters("outcomes").await, Ok(Some(Vec::new())));
}

#[tokio::test]
async fn secret_defaults_are_removed() {
    let server = start_airflow("3.3").await;
    let params = json!({
        "api_token": {"value": "canary", "schema": {"type": "string", "examples": ["canary"]}},
        "nested": {"value": {"db": {"password": "canary"}}, "schema": {"type": "object"}},
        "open": {"value": "shown", "schema": {}},
    });
    mock_details(&server, "v2", 200, json!({"dag_id": "outcomes", "params": params})).await;
    let found = provider(&server.uri()).parameters("outcomes").await.unwrap().unwrap();
    assert!(!serde_json::to_string(&found).unwrap().contains("canary"), "{found:?}");
    let redacted: Vec<_> = found.iter().map(|parameter| parameter.is_redacted).collect();
    assert_eq!(redacted, [true, true, false]);
    // A connector may have other patterns.
    let config = json!({"base_url": server.uri(), "redact_conf": ["open"]});
    let airflow = open_with(config, &basic().into(), ANY_NETWORK).unwrap();
    let found = airflow.parameters("outcomes").await.unwrap().unwrap();
    let redacted: Vec<_> = found.iter().map(|parameter| parameter.is_redacted).collect();
    assert_eq!(redacted, [false, false, true]);
}

#[tokio::test]
async fn a_dag_that_is_gone_differs_from_an_answer_that_is_none() {
    let server = start_airflow("3.3").await;
    mock_get(&server, "/api/v2/dags/nope/details", 404, "3.3", "no_dag.json").await;
    let airflow = provider(&server.uri());
    assert_eq!(airflow.parameters("nope").await, Ok(None));
    mock_details(&server, "v2", 200, json!({"dag_id": "other", "params": {}})).await;
    let error = airflow.parameters("outcomes").await.unwrap_err();
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}
