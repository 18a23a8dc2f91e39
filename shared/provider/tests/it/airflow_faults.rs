//! Invalid and failing responses: each becomes an error with a text to act on, after a bounded number of
//! requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use provider::{NetworkPolicy, Provider, ProviderError, RunScope, TaskRunScope};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_server::{
    basic, list_pipelines_error, mock_dags, mock_login, observation, open_url, probe, provider, recorded,
    response, start_airflow,
};

#[tokio::test]
async fn every_fault_has_an_actionable_text() {
    let page = "<html><head><title>Sign in</title></head></html>";
    let redirect =
        response(302, "").insert_header("location", "https://me:pw@login.example/start?token=canary#x");
    let mut errors = Vec::new();
    for (with, times) in [
        (response(403, r#"{"detail":"Forbidden"}"#), 1),
        // The second request asks for the list without its rows.
        (response(404, recorded("3.3", "no_route.json")), 2),
        (response(200, page), 2),
        (response(200, r#"{"dags":[{"dag_id":"a"#), 2),
        (response(200, r#"{"pipelines":[]}"#), 2),
        (response(200, r#"{"dags":"none"}"#), 2),
        (redirect, 2),
        (response(429, "").insert_header("retry-after", "3600"), 1),
    ] {
        errors.push(list_pipelines_error(with, times).await.to_string());
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let target = format!("{}/api/v2/dags", elsewhere.uri());
    let error = list_pipelines_error(response(307, "").insert_header("location", target.as_str()), 2).await;
    assert!(error.to_string().contains(&target), "{error}");
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_404_of_a_proxy_is_not_a_deletion() {
    let page = "<html><title>404</title></html>";
    let framework = r#"{"detail":"Not Found"}"#.to_owned();
    let gateway = r#"{"detail":"no healthy upstream for these dags"}"#.to_owned();
    let other = recorded("3.3", "no_dag.json");
    let no_route = recorded("3.3", "no_route.json");
    for body in [page.to_owned(), no_route, "{}".to_owned(), String::new(), framework, gateway, other] {
        let (server, airflow) = server_without_dag(body).await;
        let error = airflow.has_pipeline("daily_sales").await.unwrap_err();
        assert!(matches!(error, ProviderError::Unaddressable { .. }), "{error}");
        let error = airflow.runs(&history(), observation(), None).await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
        let error = airflow.task_runs(&task_history(), observation(), None).await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
        let error = airflow.tasks("daily_sales").await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
        drop(server);
    }
}

#[tokio::test]
async fn a_404_in_the_words_of_airflow_is_a_deletion() {
    let body = recorded("3.3", "no_dag.json").replace("nope", "daily_sales");
    let (_server, airflow) = server_without_dag(body).await;
    assert_eq!(airflow.has_pipeline("daily_sales").await, Ok(false));
    let error = airflow.runs(&history(), observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
    let error = airflow.task_runs(&task_history(), observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
    let error = airflow.tasks("daily_sales").await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
}

/// A server that answers 404 with this body to every request for the DAG `daily_sales` and its lists.
async fn server_without_dag(body: String) -> (MockServer, Box<dyn Provider>) {
    let server = start_airflow("3.3").await;
    let of_dag = path_regex("^/api/v2/dags/daily_sales");
    Mock::given(of_dag).respond_with(response(404, body)).mount(&server).await;
    let airflow = provider(&server.uri());
    (server, airflow)
}

fn history() -> RunScope {
    RunScope::Pipeline { pipeline: "daily_sales".to_owned(), since: observation().at }
}

fn task_history() -> TaskRunScope {
    TaskRunScope::Pipeline { pipeline: "daily_sales".to_owned(), since: observation().at }
}

#[tokio::test]
async fn a_server_other_than_airflow_is_an_error() {
    let server = MockServer::start().await;
    let error = probe(provider(&server.uri()).as_ref()).await.unwrap_err();
    insta::assert_snapshot!(error.to_string());
}

#[tokio::test]
async fn a_refused_connection_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = probe(provider(&format!("http://{address}")).as_ref()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "The provider at {address} cannot be reached (Connection refused (os error 111)); check the base \
             URL and that it is up."
        )
    );
    assert!(matches!(error, ProviderError::Unreachable { sent: false, .. }));
}

#[tokio::test]
async fn an_unknown_host_is_an_error() {
    let error = probe(provider("http://no-such-host.invalid").as_ref()).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Unreachable { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn private_addresses_are_denied_by_default() {
    let server = start_airflow("3.3").await;
    let closed = NetworkPolicy::default();
    assert!(matches!(
        open_url(&server.uri(), &basic(), closed.clone()).err(),
        Some(ProviderError::Denied { .. })
    ));
    let by_name = format!("http://localhost:{}", server.address().port());
    let error = probe(open_url(&by_name, &basic(), closed).unwrap().as_ref()).await.unwrap_err();
    assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

/// A server that writes raw bytes, with a counter of its connections.
async fn raw_server<F>(respond: impl Fn(TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            tokio::spawn(respond(stream));
        }
    });
    (url, connections)
}

#[tokio::test]
async fn a_truncated_body_is_retried() {
    let (url, connections) = raw_server(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"version\":").await
    })
    .await;
    let error = probe(provider(&url).as_ref()).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unreachable { sent: true, .. }), "{error}");
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn reading_a_huge_body_is_aborted() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let (url, connections) = raw_server(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n").await?;
            for _ in 0..100 {
                stream.write_all(&[b' '; 1024 * 1024]).await?;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await;
    let error = probe(provider(&url).as_ref()).await.unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
    let written = written.load(Ordering::Relaxed);
    assert!(written < 40, "{written} MiB were read");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the request is not retried");
}

#[tokio::test]
async fn the_body_limit_applies_to_the_decompressed_body() {
    let bomb = include_bytes!("../fixtures/64_mib_of_spaces.gz");
    let with = ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
    // The list is requested again without its rows.
    let error = list_pipelines_error(with.set_body_raw(bomb.as_slice(), "application/json"), 2).await;
    assert!(error.to_string().contains("larger than 6 MiB"), "{error}");
}

#[tokio::test]
async fn nan_and_infinities_become_null() {
    let server = start_airflow("2.11").await;
    let body = r#"{"dag_runs": [
        {"dag_id": "a", "dag_run_id": "r\"NaN", "state": "success",
         "conf": {"x": NaN, "y": [-Infinity, Infinity], "z": "\\"}},
        {"dag_id": "a", "dag_run_id": "good", "state": "success", "conf": {}}], "total_entries": 2}"#;
    Mock::given(path("/api/v1/dags/~/dagRuns")).respond_with(response(200, body)).mount(&server).await;
    let page = provider(&server.uri()).runs(&RunScope::Unfinished, observation(), None).await.unwrap();
    assert_eq!(page.items[0].external_id, "r\"NaN");
    assert_eq!(page.items[0].conf, json!({"x": null, "y": [null, null], "z": "\\"}).into());
    assert_eq!(page.items[1].external_id, "good");
}

#[tokio::test]
async fn a_silent_server_times_out_after_thirty_seconds() {
    let (url, connections) = raw_server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(120)).await;
        drop(stream);
        Ok(())
    })
    .await;
    let started = Instant::now();
    let error = probe(provider(&url).as_ref()).await.unwrap_err();
    assert!(error.to_string().contains("no complete answer within 30 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(45));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// What the provider says is cut wherever it comes from.
#[tokio::test]
async fn no_error_is_longer_than_what_a_person_reads() {
    let long = "long ".repeat(100_000);
    for (status, body) in [
        (200, json!({ "dags": long })),
        (200, json!({"dags": [{"dag_id": {"a": long}}], "total_entries": 1})),
        (200, json!({"dags": [], "total_entries": long})),
        (400, json!({ "detail": long })),
        (403, json!({ "detail": [{"msg": long, "loc": [long]}] })),
        (409, json!({ "detail": {"reason": long} })),
        (302, json!(null)),
        (404, json!(long)),
        (429, json!({ "detail": long })),
    ] {
        let server = start_airflow("3.3").await;
        let answer =
            response(status, body.to_string()).insert_header("location", format!("/{}", "l".repeat(5_000)));
        mock_dags(&server, answer, 1..).await;
        if let Err(error) = provider(&server.uri()).pipelines(observation(), None).await {
            assert!(
                error.to_string().chars().count() < 500,
                "{status}: {} characters",
                error.to_string().len()
            );
        }
    }
    let server = MockServer::start().await;
    let version = json!({ "version": long }).to_string();
    Mock::given(path("/api/v2/version")).respond_with(response(200, version)).mount(&server).await;
    mock_login(&server).await;
    mock_dags(&server, response(200, recorded("3.3", "dags.json")), 1..).await;
    let (version, _) = probe(provider(&server.uri()).as_ref()).await.unwrap();
    assert!(version.chars().count() <= 301);
}

/// PostgreSQL does not store NUL, and terminals act on other control characters.
#[tokio::test]
async fn no_error_has_control_characters() {
    let odd = "no\u{0}thing \u{1b}[2J for\u{7f} you";
    for (status, body, times) in [
        (400, json!({ "detail": odd }), 1),
        (403, json!({ "detail": odd }), 1),
        (409, json!({ "detail": {"reason": odd} }), 1),
        (422, json!({ "detail": [{"msg": odd, "loc": [odd]}] }), 1),
        (429, json!({ "title": odd }), 3),
    ] {
        let error = list_pipelines_error(response(status, body.to_string()), times).await.to_string();
        assert!(error.contains("no\u{fffd}thing"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let error = list_pipelines_error(response(400, odd), 1).await.to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
}
