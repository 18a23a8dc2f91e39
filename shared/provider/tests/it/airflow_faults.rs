//! Airflow down, slow, lying or refusing: every fault gets an end, a reason and no more requests than make sense.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metrics_exporter_prometheus::PrometheusBuilder;
use provider::connector::{Credentials, Secrets};
use provider::{NetworkPolicy, Provider, ProviderError, RunScope};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::airflow_stage::{
    TOKEN, airflow_of, answer, basic, give, open_at, open_with, provider, provider_as, recorded, seen,
};

const DAGS: &str = "/api/v2/dags";
const ANY_NETWORK: NetworkPolicy = NetworkPolicy { allow_private_networks: true };

async fn dags_answer(server: &MockServer, with: ResponseTemplate, times: u64) {
    Mock::given(path(DAGS)).respond_with(with).expect(times).mount(server).await;
}

/// What a server that answers so makes of a poll.
async fn fault(with: ResponseTemplate, times: u64) -> ProviderError {
    let server = airflow_of("3.3").await;
    dags_answer(&server, with, times).await;
    let error = provider(&server.uri()).pipelines(seen(), None).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "no secret is told: {error:?}");
    error
}

#[tokio::test]
async fn every_fault_is_told_in_words_to_act_on() {
    let page = "<html><head><title>Sign in</title></head></html>";
    let redirect =
        answer(302, "").insert_header("location", "https://me:pw@login.example/start?token=canary#x");
    let mut told = Vec::new();
    for (with, times) in [
        (answer(403, r#"{"detail":"Forbidden"}"#), 1),
        (answer(404, recorded("3.3", "no_route.json")), 1),
        (answer(200, page), 1),
        (answer(200, r#"{"dags":[{"dag_id":"a"#), 1),
        (answer(200, r#"{"dags":[{"name":"no id"}],"total_entries":1}"#), 1),
        (answer(200, r#"{"dags":"none"}"#), 1),
        (redirect, 1),
        (answer(429, "").insert_header("retry-after", "3600"), 1),
    ] {
        told.push(fault(with, times).await.to_string());
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times() {
    let error = fault(answer(500, "<html>Ooops!</html>"), 3).await;
    assert!(matches!(error, ProviderError::Failing { status: 500, .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn the_third_try_counts() {
    let server = airflow_of("3.3").await;
    Mock::given(path(DAGS)).respond_with(answer(503, "")).up_to_n_times(2).mount(&server).await;
    dags_answer(&server, answer(200, recorded("3.3", "dags.json")), 1).await;
    let airflow = provider(&server.uri());
    assert_eq!(airflow.pipelines(seen(), None).await.unwrap().items.len(), 7);
    assert_eq!(airflow.requests(), 5, "the version, the login and three tries");
}

#[tokio::test]
async fn waits_as_long_as_it_is_asked_to() {
    let server = airflow_of("3.3").await;
    let throttled = answer(429, "").insert_header("retry-after", "2");
    Mock::given(path(DAGS)).respond_with(throttled).up_to_n_times(1).mount(&server).await;
    dags_answer(&server, answer(200, recorded("3.3", "dags.json")), 1).await;
    let started = Instant::now();
    provider(&server.uri()).pipelines(seen(), None).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_wait_that_one_answer_asks_for_holds_every_request_back() {
    let server = airflow_of("3.3").await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let throttled = move |_: &wiremock::Request| {
        noted.lock().unwrap().push(Instant::now());
        answer(503, "").insert_header("retry-after", "2")
    };
    Mock::given(path(DAGS)).respond_with(throttled).up_to_n_times(1).mount(&server).await;
    let noted = Arc::clone(&times);
    let listed = move |_: &wiremock::Request| {
        noted.lock().unwrap().push(Instant::now());
        answer(200, recorded("3.3", "dags.json"))
    };
    Mock::given(path(DAGS)).respond_with(listed).mount(&server).await;
    let airflow = provider(&server.uri());
    let later = async {
        while times.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What is on its way back already needs a moment to arrive.
        tokio::time::sleep(Duration::from_millis(200)).await;
        airflow.pipelines(seen(), None).await.unwrap();
    };
    let (first, ()) = tokio::join!(airflow.pipelines(seen(), None), later);
    first.unwrap();
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 3);
    assert!(times[1..].iter().all(|time| *time - times[0] >= Duration::from_millis(1900)), "{times:?}");
}

#[tokio::test]
async fn a_failing_server_says_how_long_to_leave_it_alone() {
    let error = fault(answer(503, "").insert_header("retry-after", "3600"), 1).await;
    assert!(matches!(error, ProviderError::Failing { status: 503, .. }), "{error}");
    assert_eq!(error.retry_after(), Duration::from_secs(3600));
}

#[tokio::test]
async fn requests_are_spaced_and_no_more_are_open_than_the_connector_says() {
    let server = airflow_of("3.3").await;
    let listed = answer(200, recorded("3.3", "dags.json")).set_delay(Duration::from_millis(100));
    dags_answer(&server, listed, 16).await;
    for (limits, least) in [
        (
            json!({"base_url": server.uri(), "max_requests_in_flight": 1, "max_requests_per_second": 1000}),
            800,
        ),
        (json!({"base_url": server.uri(), "max_requests_in_flight": 32, "max_requests_per_second": 5}), 1800),
    ] {
        let airflow = open_with(limits, &basic().into(), ANY_NETWORK).unwrap();
        let started = Instant::now();
        futures::future::join_all((0..8).map(|_| airflow.pipelines(seen(), None))).await;
        assert!(started.elapsed() >= Duration::from_millis(least), "{:?}", started.elapsed());
        assert_eq!(airflow.requests(), 10, "the version, the login and eight lists");
    }
}

#[tokio::test]
async fn headers_of_the_connector_are_carried_by_every_request_below_any_path() {
    let server = MockServer::start().await;
    let gate = || header("x-gate", "canary-gate");
    for (verb, at, body) in [
        ("GET", "/team/a/api/v2/version", recorded("3.3", "version.json")),
        ("POST", "/team/a/auth/token", json!({"access_token": TOKEN}).to_string()),
        ("GET", "/team/a/api/v2/dags", recorded("3.3", "dags.json")),
    ] {
        Mock::given(method(verb))
            .and(path(at))
            .and(gate())
            .respond_with(answer(200, body))
            .expect(1)
            .mount(&server)
            .await;
    }
    let mut secrets = Secrets::from(basic());
    secrets.headers.insert("X-Gate".to_owned(), "canary-gate".into());
    let config = json!({"base_url": format!("{}/team/a/", server.uri())});
    let airflow = open_with(config, &secrets, ANY_NETWORK).unwrap();
    airflow.pipelines(seen(), None).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let target = format!("{}/api/v2/dags", elsewhere.uri());
    let error = fault(answer(307, "").insert_header("location", target.as_str()), 1).await;
    assert!(error.to_string().contains(&target), "{error}");
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_token_is_renewed_once() {
    for (status, name) in [(401, "not_authenticated.json"), (403, "invalid_token.json")] {
        let server = airflow_of("3.3").await;
        let refused = answer(status, recorded("3.3", name));
        Mock::given(path(DAGS)).respond_with(refused).up_to_n_times(1).mount(&server).await;
        dags_answer(&server, answer(200, recorded("3.3", "dags.json")), 1).await;
        let airflow = provider(&server.uri());
        airflow.pipelines(seen(), None).await.unwrap();
        assert_eq!(airflow.requests(), 5, "the version, and twice a login and a request");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_again_is_given_up() {
    let error = fault(answer(401, recorded("3.3", "not_authenticated.json")), 2).await;
    assert!(matches!(error, ProviderError::CredentialsRefused { status: 401, .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    for (life, logins) in [(86_400, 1), (1, 2)] {
        let server = MockServer::start().await;
        give(&server, "/api/v2/version", 200, "3.3", "version.json").await;
        give(&server, DAGS, 200, "3.3", "dags.json").await;
        let claims = URL_SAFE_NO_PAD.encode(json!({"iat": 1000, "exp": 1000 + life}).to_string());
        Mock::given(method("POST"))
            .and(path("/auth/token"))
            .respond_with(answer(201, json!({"access_token": format!("e30.{claims}.c2ln")}).to_string()))
            .expect(logins)
            .mount(&server)
            .await;
        let airflow = provider(&server.uri());
        airflow.pipelines(seen(), None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        airflow.pipelines(seen(), None).await.unwrap();
    }
}

#[tokio::test]
async fn many_requests_at_once_make_one_login_and_at_most_four_connections() {
    let server = MockServer::start().await;
    give(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    Mock::given(path("/auth/token"))
        .respond_with(answer(201, json!({"access_token": TOKEN}).to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let listed = answer(200, recorded("3.3", "dags.json")).set_delay(Duration::from_millis(300));
    dags_answer(&server, listed, 12).await;
    let airflow: Arc<dyn Provider> = provider(&server.uri()).into();
    let started = Instant::now();
    let polls = (0..12).map(|_| {
        let airflow = Arc::clone(&airflow);
        tokio::spawn(async move { airflow.pipelines(seen(), None).await.unwrap() })
    });
    futures::future::join_all(polls).await;
    assert!(started.elapsed() >= Duration::from_millis(900), "twelve, four at a time");
}

#[tokio::test]
async fn credentials_are_shown_as_each_kind_wants_it() {
    let basic_header = "Basic YWRtaW46Y2FuYXJ5LXBhc3N3b3Jk";
    let bearer = format!("Bearer {TOKEN}");
    let token = Credentials::Token { token: TOKEN.into() };
    for (server, at, credentials, shown) in [
        (airflow_of("2.11").await, "/api/v1/dags", basic(), basic_header),
        (airflow_of("2.11").await, "/api/v1/dags", token.clone(), &bearer),
        (airflow_of("3.3").await, DAGS, basic(), &bearer),
        (airflow_of("3.3").await, DAGS, token, &bearer),
    ] {
        Mock::given(path(at))
            .and(header("authorization", shown))
            .respond_with(answer(200, recorded("3.3", "dags.json")))
            .expect(1)
            .mount(&server)
            .await;
        provider_as(&server.uri(), &credentials).clock().await.unwrap();
    }
}

#[tokio::test]
async fn refused_credentials_are_told_apart_from_missing_rights() {
    let mut told = Vec::new();
    let server = MockServer::start().await;
    give(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    let refused = answer(401, recorded("3.3", "login_refused.json"));
    Mock::given(path("/auth/token")).respond_with(refused).expect(1).mount(&server).await;
    told.push(provider(&server.uri()).probe().await.unwrap_err());

    let server = MockServer::start().await;
    give(&server, "/api/v2/version", 200, "3.3", "version.json").await;
    told.push(provider(&server.uri()).probe().await.unwrap_err());

    let server = airflow_of("2.11").await;
    give(&server, "/api/v1/dags", 403, "2.11", "login_refused.json").await;
    told.push(provider(&server.uri()).probe().await.unwrap_err());

    let server = airflow_of("3.3").await;
    give(&server, DAGS, 403, "3.3", "invalid_token.json").await;
    let token = Credentials::Token { token: TOKEN.into() };
    told.push(provider_as(&server.uri(), &token).probe().await.unwrap_err());
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_404_of_a_proxy_is_not_a_deletion() {
    let page = "<html><title>404</title></html>";
    for body in [page.to_owned(), recorded("3.3", "no_route.json"), "{}".to_owned(), String::new()] {
        let server = airflow_of("3.3").await;
        Mock::given(path("/api/v2/dags/daily_sales")).respond_with(answer(404, body)).mount(&server).await;
        let error = provider(&server.uri()).has_pipeline("daily_sales").await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_airflow_is_told() {
    let server = MockServer::start().await;
    let error = provider(&server.uri()).probe().await.unwrap_err();
    insta::assert_snapshot!(error.to_string());
}

#[tokio::test]
async fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = provider(&format!("http://{address}")).probe().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "The provider at {address} cannot be reached (Connection refused (os error 111)); check the base URL and that it is up."
        )
    );
    assert!(matches!(error, ProviderError::Unreachable { sent: false, .. }));
}

#[tokio::test]
async fn a_name_that_is_none() {
    let error = provider("http://no-such-host.invalid").probe().await.unwrap_err();
    assert!(matches!(&error, ProviderError::Unreachable { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn private_addresses_are_asked_only_when_allowed() {
    let server = airflow_of("3.3").await;
    let closed = NetworkPolicy { allow_private_networks: false };
    assert!(matches!(open_at(&server.uri(), &basic(), closed).err(), Some(ProviderError::Denied { .. })));
    let by_name = format!("http://localhost:{}", server.address().port());
    let error = open_at(&by_name, &basic(), closed).unwrap().probe().await.unwrap_err();
    assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

/// A server that answers as it likes, byte by byte; it counts its connections.
async fn raw_server<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            tokio::spawn(answer(stream));
        }
    });
    (url, connections)
}

#[tokio::test]
async fn half_a_body_is_asked_for_again() {
    let (url, connections) = raw_server(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"version\":").await
    })
    .await;
    let error = provider(&url).probe().await.unwrap_err();
    assert!(matches!(error, ProviderError::Unreachable { sent: true, .. }), "{error}");
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_huge_body_is_left_early() {
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
    let error = provider(&url).probe().await.unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
    let written = written.load(Ordering::Relaxed);
    assert!(written < 40, "{written} MiB were taken");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "it would be as large again");
}

#[tokio::test]
async fn a_bomb_is_counted_as_it_unfolds() {
    let bomb = include_bytes!("../fixtures/64_mib_of_spaces.gz");
    let with = ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
    // A list is asked for again in ever smaller pages.
    let error = fault(with.set_body_raw(bomb.as_slice(), "application/json"), 4).await;
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
}

#[tokio::test]
async fn numbers_that_json_has_no_word_for_are_null() {
    let server = airflow_of("2.11").await;
    let body = r#"{"dag_runs": [
        {"dag_id": "a", "dag_run_id": "r\"NaN", "state": "success", "conf": {"x": NaN, "y": [-Infinity, Infinity], "z": "\\"}},
        {"dag_id": "a", "dag_run_id": "good", "state": "success", "conf": {}}], "total_entries": 2}"#;
    Mock::given(path("/api/v1/dags/~/dagRuns")).respond_with(answer(200, body)).mount(&server).await;
    let page = provider(&server.uri()).runs(&RunScope::Unfinished, seen(), None).await.unwrap();
    assert_eq!(page.items[0].external_id, "r\"NaN");
    assert_eq!(page.items[0].conf, json!({"x": null, "y": [null, null], "z": "\\"}));
    assert_eq!(page.items[1].external_id, "good");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_half_a_minute() {
    let (url, connections) = raw_server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(120)).await;
        drop(stream);
        Ok(())
    })
    .await;
    let started = Instant::now();
    let error = provider(&url).probe().await.unwrap_err();
    assert!(error.to_string().contains("no complete answer within 30 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(45));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Everything that any part of the process has to say, down to the least.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let lines =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(lines.finish());
    for server in [airflow_of("3.3").await, airflow_of("2.11").await] {
        for credentials in [basic(), Credentials::Token { token: TOKEN.into() }] {
            let mut secrets = Secrets::from(credentials);
            secrets.headers.insert("x-gate".to_owned(), "canary-header".into());
            let airflow = open_with(json!({"base_url": server.uri()}), &secrets, ANY_NETWORK).unwrap();
            tracing::info!(?secrets, error = %airflow.probe().await.unwrap_err(), "asked");
        }
    }
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("asked"), "something was logged");
    assert!(!said.contains("canary") && !said.contains("YWRtaW46"), "{said}");
}

#[tokio::test]
async fn requests_are_counted_by_their_answer() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    fault(answer(503, ""), 3).await;
    let shown = handle.render();
    for (code, count) in [(200, 1), (201, 1), (503, 3)] {
        let line = format!("orchestration_source_requests_total{{code=\"{code}\"}} {count}");
        assert!(shown.contains(&line), "{shown}");
    }
}
