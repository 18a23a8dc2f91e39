//! Triggers: the request is sent once, and its outcome is reported correctly.

use contract::events::RunObserved;
use provider::{ProviderError, TriggerCommand};
use serde_json::json;
use serde_json::value::to_raw_value;
use wiremock::matchers::{body_json, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_server::{
    mock_get, mock_login, observation, pretty, provider, recorded, response, start_airflow, time,
};

fn command() -> TriggerCommand {
    TriggerCommand {
        run: "asked-for-1".to_owned(),
        logical_date: None,
        conf: to_raw_value(&json!({"n": 7})).unwrap().into(),
        note: Some("asked by hand".to_owned()),
    }
}

async fn mock_trigger(server: &MockServer, api: &str, with: ResponseTemplate) {
    let at = format!("/api/{api}/dags/hourly_paused/dagRuns");
    Mock::given(method("POST")).and(path(at)).respond_with(with).expect(1).mount(server).await;
}

#[tokio::test]
async fn airflow_3_receives_a_null_logical_date() {
    let server = start_airflow("3.3").await;
    let body =
        json!({"dag_run_id": "asked-for-1", "logical_date": null, "conf": {"n": 7}, "note": "asked by hand"});
    Mock::given(method("POST"))
        .and(path("/api/v2/dags/hourly_paused/dagRuns"))
        .and(body_json(body))
        .respond_with(response(200, recorded("3.3", "triggered.json")))
        .expect(1)
        .mount(&server)
        .await;
    let run = provider(&server.uri()).trigger("hourly_paused", &command(), observation()).await.unwrap();
    assert_eq!(run.external_url, Some(format!("{}/dags/hourly_paused/runs/asked-for-1", server.uri())));
    insta::assert_snapshot!(pretty(&RunObserved { external_url: None, ..run }));
}

#[tokio::test]
async fn airflow_2_receives_no_null_fields() {
    let server = start_airflow("2.11").await;
    let body =
        json!({"dag_run_id": "asked-for-1", "conf": {"n": 7}, "logical_date": "2026-11-24T00:00:00.000000Z"});
    Mock::given(method("POST"))
        .and(path("/api/v1/dags/hourly_paused/dagRuns"))
        .and(body_json(body))
        .respond_with(response(200, recorded("2.11", "triggered.json")))
        .expect(1)
        .mount(&server)
        .await;
    let command =
        TriggerCommand { logical_date: Some(time("2026-11-24T00:00:00Z")), note: None, ..command() };
    let run = provider(&server.uri()).trigger("hourly_paused", &command, observation()).await.unwrap();
    assert_eq!(run.external_id, "asked-for-1");
}

#[tokio::test]
async fn rejections_have_one_sentence_texts() {
    let mut errors = Vec::new();
    for (release, api, status, name) in [
        ("3.3", "v2", 409, "trigger_duplicate.json"),
        ("3.1", "v2", 409, "trigger_duplicate.json"),
        ("2.11", "v1", 409, "trigger_duplicate.json"),
        ("3.3", "v2", 422, "trigger_bad_conf.json"),
        ("2.11", "v1", 400, "trigger_bad_conf.json"),
        ("3.3", "v2", 404, "trigger_no_dag.json"),
        ("2.11", "v1", 404, "trigger_no_dag.json"),
        ("2.11", "v1", 403, "not_authenticated.json"),
    ] {
        let server = if api == "v1" { start_airflow("2.11").await } else { start_airflow("3.3").await };
        mock_trigger(&server, api, response(status, recorded(release, name))).await;
        let error =
            provider(&server.uri()).trigger("hourly_paused", &command(), observation()).await.unwrap_err();
        errors.push(format!("{release}: {error}"));
    }
    for body in
        [r#"{"error": "not here"}"#, "plain text", "<html><title>Bad Gateway</title></html>", "", "null"]
    {
        let server = start_airflow("3.3").await;
        mock_trigger(&server, "v2", response(418, body)).await;
        let error =
            provider(&server.uri()).trigger("hourly_paused", &command(), observation()).await.unwrap_err();
        errors.push(format!("{body}: {error}"));
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[tokio::test]
async fn an_invalid_run_id_is_not_sent() {
    for run in ["a b", "a/b", "", "é", &"x".repeat(251)] {
        let server = start_airflow("2.11").await;
        let command = TriggerCommand { run: run.to_owned(), ..command() };
        let error =
            provider(&server.uri()).trigger("hourly_paused", &command, observation()).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { status: 400, .. }), "{error}");
        let requests = server.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| request.method == "GET"));
    }
}

/// The mocks expect one request each.
#[tokio::test]
async fn an_unknown_outcome_is_not_retried() {
    let mut errors = Vec::new();
    for with in [
        response(500, recorded("2.11", "trigger_bad_run_id.html")),
        response(502, "<html><title>Bad Gateway</title></html>"),
        response(200, "<html><title>Welcome</title></html>"),
        response(200, r#"{"dag_run_id": "asked"#),
    ] {
        let server = start_airflow("3.3").await;
        mock_trigger(&server, "v2", with).await;
        let error =
            provider(&server.uri()).trigger("hourly_paused", &command(), observation()).await.unwrap_err();
        errors.push(error.to_string().replace(&server.address().to_string(), "airflow.example"));
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[tokio::test]
async fn a_trigger_with_a_rejected_token_is_repeated() {
    let server = MockServer::start().await;
    mock_login(&server).await;
    let refused = response(401, recorded("3.3", "not_authenticated.json"));
    let post = || Mock::given(method("POST")).and(path("/api/v2/dags/hourly_paused/dagRuns"));
    post().respond_with(refused).up_to_n_times(1).mount(&server).await;
    post().respond_with(response(200, recorded("3.3", "triggered.json"))).expect(1).mount(&server).await;
    mock_get(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    provider(&server.uri()).trigger("hourly_paused", &command(), observation()).await.unwrap();
}

/// The path of `sales\n` is that of `sales`.
#[tokio::test]
async fn a_pipeline_whose_id_does_not_survive_in_a_path_is_not_triggered() {
    for id in ["sales\n", "a/b", "a%2Fb", ".."] {
        let server = start_airflow("3.3").await;
        let run = json!({"dag_id": "sales", "dag_run_id": "asked-for-1", "state": "queued"});
        let triggers = Mock::given(method("POST")).and(path_regex("/dagRuns$"));
        triggers.respond_with(response(200, run.to_string())).expect(0).mount(&server).await;
        let error = provider(&server.uri()).trigger(id, &command(), observation()).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { status: 400, .. }), "{error}");
    }
}
