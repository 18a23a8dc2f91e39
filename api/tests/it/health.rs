//! The health of a process: stalled and failed tasks, failures of the provider in its metrics, and its end.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use reqwest::Client;
use testkit::{ApiProcess, ProgramSettings, TriggerBehavior, kafka_config, sealing_keys};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::seed::EDITOR;
use crate::trigger::start_test;

const TIMEOUT: Duration = Duration::from_secs(60);

fn settings(test: &TestApi) -> ProgramSettings {
    ProgramSettings {
        database_url: test.database.api_url.clone(),
        kafka: kafka_config("127.0.0.1:9", ""),
        sealing_keys: sealing_keys("a"),
    }
}

#[tokio::test]
async fn a_stalled_task_fails_the_health_check_and_one_that_panics_stops_the_process() {
    let test = TestApi::new().await;
    let health = async || test.raw(Request::builder().uri("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(health().await.expect(200)["status"], "ok");
    let heartbeat = test.app.watched.heartbeats().register("event stream tail", Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(health().await.expect(500)["detail"], "event stream tail: no heartbeat for 0 s");
    heartbeat.record_before_pause(TIMEOUT);
    health().await.expect(200);
    test.app.watched.spawn("access changes", async |_| panic!("a notification that cannot be read"));
    tokio::time::timeout(TIMEOUT, test.app.stopping.cancelled()).await.expect("the process stops");
    assert_eq!(test.app.watched.find_failed(), Some("access changes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_provider_is_measured_as_its_own() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let api = ApiProcess::start(&settings(&test), &[]).await;
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
    let url = format!("{}/api/v1.0/spaces/{SPACE}/orchestration/pipelines/{pipeline}/trigger", api.url);
    for code in [500, 503] {
        fake.set_behavior(TriggerBehavior::Reject(code));
        let rejected = client.post(&url).bearer_auth(EDITOR).send().await.unwrap();
        assert_eq!(rejected.status().as_u16(), code);
    }
    assert_eq!(client.get(&url).bearer_auth(EDITOR).send().await.unwrap().status().as_u16(), 405);
    let metrics = client.get(format!("{}/metrics", api.url)).send().await.unwrap().text().await.unwrap();
    let counted = |status: &str, origin: &str| {
        let has = |line: &&str| {
            line.starts_with("orchestration_http_request_duration_seconds_count{")
                && line.contains("/trigger\"")
                && line.contains(&format!("status=\"{status}\""))
                && line.contains(&format!("origin=\"{origin}\""))
        };
        metrics.lines().filter(has).count()
    };
    assert_eq!((counted("500", "provider"), counted("503", "provider")), (1, 1), "{metrics}");
    assert_eq!((counted("500", "service"), counted("503", "service"), counted("405", "service")), (0, 0, 1));
    assert!(metrics.contains("orchestration_heartbeat_age_seconds{part=\"event stream tail\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_after_a_termination_ends_the_process_at_once() {
    let test = TestApi::new().await;
    let mut api = ApiProcess::start(&settings(&test), &["--drain-seconds", "10"]).await;
    api.terminate();
    let url = format!("{}/readyz", api.url);
    let is_stopping = async || reqwest::get(&url).await.is_ok_and(|response| response.status() == 503);
    testkit::eventually("the process stops", TIMEOUT, is_stopping).await;
    let id = api.process().id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert_eq!(
        exit_code(&mut api).await,
        Some(130),
        "the exit code of an interrupt, and not of a drained process"
    );
}

/// Waits for the end of the process, and returns its exit code.
async fn exit_code(api: &mut ApiProcess) -> Option<i32> {
    loop {
        if let Some(status) = api.process().try_wait().unwrap() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
