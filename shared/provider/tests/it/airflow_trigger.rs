//! A trigger is asked for once, and what came of it is told rightly.

use contract::events::RunObserved;
use provider::{ProviderError, TriggerCommand};
use serde_json::json;
use wiremock::matchers::{body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_stage::{airflow_of, answer, give, log_in, provider, recorded, seen, time};

fn command() -> TriggerCommand {
    TriggerCommand {
        run: "asked-for-1".to_owned(),
        logical_date: None,
        conf: json!({"n": 7}),
        note: Some("asked by hand".to_owned()),
    }
}

async fn answers(server: &MockServer, api: &str, with: ResponseTemplate) {
    let at = format!("/api/{api}/dags/hourly_paused/dagRuns");
    Mock::given(method("POST")).and(path(at)).respond_with(with).expect(1).mount(server).await;
}

#[tokio::test]
async fn airflow_3_is_told_even_that_there_is_no_logical_date() {
    let server = airflow_of("3.3").await;
    let body =
        json!({"dag_run_id": "asked-for-1", "logical_date": null, "conf": {"n": 7}, "note": "asked by hand"});
    Mock::given(method("POST"))
        .and(path("/api/v2/dags/hourly_paused/dagRuns"))
        .and(body_json(body))
        .respond_with(answer(200, recorded("3.3", "triggered.json")))
        .expect(1)
        .mount(&server)
        .await;
    let run = provider(&server.uri()).trigger("hourly_paused", &command(), seen()).await.unwrap();
    assert_eq!(run.external_url, Some(format!("{}/dags/hourly_paused/runs/asked-for-1", server.uri())));
    insta::assert_json_snapshot!(RunObserved { external_url: None, ..run });
}

#[tokio::test]
async fn airflow_2_is_not_told_what_is_none() {
    let server = airflow_of("2.11").await;
    let body =
        json!({"dag_run_id": "asked-for-1", "conf": {"n": 7}, "logical_date": "2026-11-24T00:00:00.000000Z"});
    Mock::given(method("POST"))
        .and(path("/api/v1/dags/hourly_paused/dagRuns"))
        .and(body_json(body))
        .respond_with(answer(200, recorded("2.11", "triggered.json")))
        .expect(1)
        .mount(&server)
        .await;
    let command =
        TriggerCommand { logical_date: Some(time("2026-11-24T00:00:00Z")), note: None, ..command() };
    let run = provider(&server.uri()).trigger("hourly_paused", &command, seen()).await.unwrap();
    assert_eq!(run.external_id, "asked-for-1");
}

#[tokio::test]
async fn refusals_are_told_in_one_clean_sentence() {
    let mut told = Vec::new();
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
        let server = if api == "v1" { airflow_of("2.11").await } else { airflow_of("3.3").await };
        answers(&server, api, answer(status, recorded(release, name))).await;
        let error = provider(&server.uri()).trigger("hourly_paused", &command(), seen()).await.unwrap_err();
        told.push(format!("{release}: {error}"));
    }
    for body in
        [r#"{"error": "not here"}"#, "plain text", "<html><title>Bad Gateway</title></html>", "", "null"]
    {
        let server = airflow_of("3.3").await;
        answers(&server, "v2", answer(418, body)).await;
        let error = provider(&server.uri()).trigger("hourly_paused", &command(), seen()).await.unwrap_err();
        told.push(format!("{body}: {error}"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_run_id_that_airflow_2_would_fail_on_is_not_sent() {
    for run in ["a b", "a/b", "", "é", &"x".repeat(251)] {
        let server = airflow_of("2.11").await;
        let command = TriggerCommand { run: run.to_owned(), ..command() };
        let error = provider(&server.uri()).trigger("hourly_paused", &command, seen()).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { status: 400, .. }), "{error}");
        let requests = server.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| request.method == "GET"));
    }
}

/// Asked once each, as the mocks expect.
#[tokio::test]
async fn an_answer_that_tells_nothing_is_not_asked_for_again() {
    let mut told = Vec::new();
    for with in [
        answer(500, recorded("2.11", "trigger_bad_run_id.html")),
        answer(502, "<html><title>Bad Gateway</title></html>"),
        answer(200, "<html><title>Welcome</title></html>"),
        answer(200, r#"{"dag_run_id": "asked"#),
    ] {
        let server = airflow_of("3.3").await;
        answers(&server, "v2", with).await;
        let error = provider(&server.uri()).trigger("hourly_paused", &command(), seen()).await.unwrap_err();
        told.push(error.to_string().replace(&server.address().to_string(), "airflow.example"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_since_nothing_was_done() {
    let server = MockServer::start().await;
    log_in(&server).await;
    let refused = answer(401, recorded("3.3", "not_authenticated.json"));
    let post = || Mock::given(method("POST")).and(path("/api/v2/dags/hourly_paused/dagRuns"));
    post().respond_with(refused).up_to_n_times(1).mount(&server).await;
    post().respond_with(answer(200, recorded("3.3", "triggered.json"))).expect(1).mount(&server).await;
    give(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    provider(&server.uri()).trigger("hourly_paused", &command(), seen()).await.unwrap();
}
