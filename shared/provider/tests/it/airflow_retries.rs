//! Retries, `Retry-After`, and the limits on the requests to one server.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use provider::ProviderError;
use serde_json::json;
use wiremock::Mock;
use wiremock::matchers::path;

use crate::airflow_server::{
    ANY_NETWORK, DAGS, basic, list_pipelines_error, mock_dags, observation, open_with, provider, recorded,
    response, start_airflow,
};

#[tokio::test]
async fn a_server_error_is_retried_twice() {
    // The fourth request asks for the list without its rows.
    let error = list_pipelines_error(response(500, "<html>Ooops!</html>"), 4).await;
    assert!(matches!(error, ProviderError::Failing { status: 500, .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_successful_third_attempt_is_returned() {
    let server = start_airflow("3.3").await;
    Mock::given(path(DAGS)).respond_with(response(503, "")).up_to_n_times(2).mount(&server).await;
    mock_dags(&server, response(200, recorded("3.3", "dags.json")), 1).await;
    let airflow = provider(&server.uri());
    assert_eq!(airflow.pipelines(observation(), None).await.unwrap().items.len(), 7);
    assert_eq!(airflow.requests(), 5, "the version, the login and three tries");
}

#[tokio::test]
async fn retry_after_delays_the_retry() {
    let server = start_airflow("3.3").await;
    let throttled = response(429, "").insert_header("retry-after", "2");
    Mock::given(path(DAGS)).respond_with(throttled).up_to_n_times(1).mount(&server).await;
    mock_dags(&server, response(200, recorded("3.3", "dags.json")), 1).await;
    let started = Instant::now();
    provider(&server.uri()).pipelines(observation(), None).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn retry_after_pauses_all_requests() {
    let server = start_airflow("3.3").await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&times);
    let throttled = move |_: &wiremock::Request| {
        recorder.lock().unwrap().push(Instant::now());
        response(503, "").insert_header("retry-after", "2")
    };
    Mock::given(path(DAGS)).respond_with(throttled).up_to_n_times(1).mount(&server).await;
    let recorder = Arc::clone(&times);
    let listed = move |_: &wiremock::Request| {
        recorder.lock().unwrap().push(Instant::now());
        response(200, recorded("3.3", "dags.json"))
    };
    Mock::given(path(DAGS)).respond_with(listed).mount(&server).await;
    let airflow = provider(&server.uri());
    let later = async {
        while times.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The first response needs a moment to arrive.
        tokio::time::sleep(Duration::from_millis(200)).await;
        airflow.pipelines(observation(), None).await.unwrap();
    };
    let (first, ()) = tokio::join!(airflow.pipelines(observation(), None), later);
    first.unwrap();
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 3);
    assert!(times[1..].iter().all(|time| *time - times[0] >= Duration::from_millis(1900)), "{times:?}");
}

#[tokio::test]
async fn the_error_contains_retry_after() {
    let error = list_pipelines_error(response(503, "").insert_header("retry-after", "3600"), 1).await;
    assert!(matches!(error, ProviderError::Failing { status: 503, .. }), "{error}");
    assert_eq!(error.retry_after(), Duration::from_secs(3600));
}

#[tokio::test]
async fn requests_respect_the_limits_of_the_connector() {
    let server = start_airflow("3.3").await;
    let listed = response(200, recorded("3.3", "dags.json")).set_delay(Duration::from_millis(100));
    mock_dags(&server, listed, 16).await;
    for (limits, least) in [
        (
            json!({"base_url": server.uri(), "max_requests_in_flight": 1, "max_requests_per_second": 1000}),
            800,
        ),
        (json!({"base_url": server.uri(), "max_requests_in_flight": 32, "max_requests_per_second": 5}), 1800),
    ] {
        let airflow = open_with(limits, &basic().into(), ANY_NETWORK).unwrap();
        let started = Instant::now();
        futures::future::join_all((0..8).map(|_| airflow.pipelines(observation(), None))).await;
        assert!(started.elapsed() >= Duration::from_millis(least), "{:?}", started.elapsed());
        assert_eq!(airflow.requests(), 10, "the version, the login and eight lists");
    }
}

#[tokio::test]
async fn requests_are_counted_by_status() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    list_pipelines_error(response(503, ""), 3).await;
    let text = handle.render();
    for (code, count) in [(200, 1), (201, 1), (503, 3)] {
        let line = format!("orchestration_source_requests_total{{code=\"{code}\"}} {count}");
        assert!(text.contains(&line), "{text}");
    }
}
