//! Faulty servers: a sync fails with a clear reason and changes no rows, and the next successful poll
//! recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, Uri};
use contract::events::SyncReport;
use serde_json::json;
use testkit::FakeAirflow;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use worker::queue::schedule;
use worker::sync::SyncError;

use crate::airflow::seeded_airflow;
use crate::test_worker::TestWorker;

/// A server that responds to every request with the same bytes, and closes the connection.
async fn start_faulty_server(head: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = body.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(b"connection: close\r\n\r\n").await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    url
}

const JSON: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_version_is_detected_again_after_an_upgrade() {
    let is_upgraded = Arc::new(AtomicBool::new(false));
    let upgraded = is_upgraded.clone();
    let respond = move |uri: Uri| {
        let is_supported = uri.path().starts_with("/api/v2") == upgraded.load(Ordering::SeqCst);
        async move {
            if is_supported {
                (StatusCode::OK, Json(json!({"version": "2.11.2", "dags": [], "total_entries": 0})))
            } else {
                (StatusCode::NOT_FOUND, Json(json!({"error": "API route not found"})))
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let test = TestWorker::start().await;
    test.set_base_url(&format!("http://{}", listener.local_addr().unwrap())).await;
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(respond)).await });
    test.run_sync(false).await.unwrap();
    is_upgraded.store(true, Ordering::SeqCst);
    let _ = test.run_sync(false).await;
    test.run_sync(false).await.unwrap();
}

#[expect(clippy::too_many_lines, reason = "one entry a fault")]
#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_server_fails_the_sync_and_changes_no_rows() {
    let airflow = local::airflow().await.unwrap();
    airflow.wait_for_dag("warehouse_stock", Duration::from_secs(120)).await.unwrap();
    let test = TestWorker::start().await;
    test.connect(&airflow).await;
    test.run_sync(false).await.unwrap();
    let pipelines =
        test.number("select count(*) from pipelines where is_active and deleted_at is null").await;
    let runs = test.number("select count(*) from runs where deleted_at is null").await;
    assert!(pipelines > 0);
    let mut bomb = b"{\"dags\":[\"".to_vec();
    bomb.resize(100 << 20, b'a');
    let faults = [
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n",
            b"{\"detail\":\"no\"}".to_vec(),
            "credentials",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\n",
            b"{\"detail\":\"Forbidden\"}".to_vec(),
            "403",
        ),
        ("HTTP/1.1 500 Internal Server Error\r\n", b"boom".to_vec(), "500"),
        ("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n", Vec::new(), "302"),
        (JSON, b"<html><body>Welcome to nginx!</body></html>".to_vec(), "makes no sense"),
        (JSON, b"{\"version\": \"3.3.2\", \"dags\": [{\"dag_id\": \"war".to_vec(), "makes no sense"),
        (JSON, bomb, "larger than 16 MiB"),
        (
            JSON,
            b"{\"version\":\"3.3.2\",\"access_token\":\"t\",\"dags\":[],\"total_entries\":0}".to_vec(),
            "gone at once",
        ),
    ];
    for (head, body, expected) in faults {
        let description: String = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        test.set_base_url(&start_faulty_server(head, body).await).await;
        let error = test.run_sync(true).await.expect_err(&description).to_string();
        assert!(error.contains(expected), "{head}{description}: {error}");
    }
    test.set_base_url("http://127.0.0.1:9").await;
    let error = test.run_sync(true).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    assert_eq!(
        test.number("select count(*) from pipelines where is_active and deleted_at is null").await,
        pipelines
    );
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, runs);
    test.set_base_url(&airflow.url).await;
    test.run_sync(false).await.unwrap();
    let open = "select count(*) from connector_state where failures = 0 and credentials_refused_at is null";
    assert_eq!(test.number(open).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_of_a_real_airflow_sends_few_requests_and_hardly_writes() {
    let airflow = seeded_airflow().await;
    // A PostgreSQL of its own, so that no other test writes there meanwhile.
    let test = TestWorker::isolated("postgres-quiet", &local::kafka().await.unwrap()).await;
    test.worker.start_projecting();
    test.connect(airflow).await;
    test.run_sync(false).await.unwrap();
    test.run_sync(false).await.unwrap();
    let published = test.published_records();
    let before = test.read_model().await;
    // The least of several, because PostgreSQL itself writes now and then.
    let mut least = i64::MAX;
    for _ in 0..5 {
        let wal = test.number("select (pg_current_wal_insert_lsn() - '0/0')::int8").await;
        let idle = test.run_sync(false).await.unwrap();
        let SyncReport { requests, pipelines_seen, events_published, .. } = idle.report;
        assert_eq!(events_published, 0);
        // The clock, the pipelines, and the changed runs, unfinished runs and changed task runs: nine for
        // five hundred pipelines.
        assert_eq!(requests, 1 + pipelines_seen.div_ceil(100) + 3);
        let written = test.number("select (pg_current_wal_insert_lsn() - '0/0')::int8").await - wal;
        least = least.min(written);
    }
    assert_eq!(test.published_records(), published);
    assert_eq!(test.read_model().await, before);
    assert!(least <= 8 << 10, "an idle poll wrote {least} bytes of WAL");
}

/// Seconds until the schedule tries again. Both times are written by the same transaction.
const BACK_OFF: &str =
    "select round(extract(epoch from retry_at - (select max(finished_at) from syncs)))::bigint
    from connector_state";

/// Lets the schedule try credentials that have been refused for so many seconds; returns the new back-off.
async fn refuse_again(test: &TestWorker, refused_for: i32) -> i64 {
    sqlx::query(
        "update connector_state set retry_at = now(), next_due_at = now(),
             credentials_refused_at = now() - make_interval(secs => $1)",
    )
    .bind(f64::from(refused_for))
    .execute(&test.pool)
    .await
    .unwrap();
    let since = "select extract(epoch from credentials_refused_at)::bigint from connector_state";
    let before = test.number(since).await;
    assert_eq!(schedule::enqueue_due(&test.pool).await.unwrap(), 1, "after {refused_for} s");
    test.run_next().await.unwrap_err();
    assert_eq!(test.number(since).await, before, "the mark says since when");
    test.number(BACK_OFF).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_tried_again_by_the_schedule_ever_later() {
    let test = TestWorker::start().await;
    let fake = FakeAirflow::start(1).await;
    let refusing = b"{\"detail\":\"Not authenticated\",\"version\":\"3.3.2\"}".to_vec();
    test.set_base_url(
        &start_faulty_server("HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n", refusing)
            .await,
    )
    .await;
    // A schedule that comes once a day is tried again as early as any other.
    test.execute(
        "update connectors set config = config || '{\"schedule\": \"0 0 0 * * *\"}';
         update connector_state set next_due_at = now() + interval '20 hours'",
    )
    .await;
    let error = test.run_sync(false).await.unwrap_err().to_string();
    assert!(error.contains("update them in the connector"), "{error}");
    assert_eq!(test.number(BACK_OFF).await, 60);
    let is_due_then = "select count(*) from connector_state where next_due_at = retry_at";
    assert_eq!(test.number(is_due_then).await, 1);
    assert_eq!(schedule::enqueue_due(&test.pool).await.unwrap(), 0, "not before");
    // Each time the mark is as old as the sum of the waits before it.
    for (refused_for, next) in [(60, 120), (180, 240), (7_000, 7_060), (100_000, 21_600)] {
        let back_off = refuse_again(&test, refused_for).await;
        assert!((next..next + 60).contains(&back_off) && back_off <= 21_600, "{refused_for}: {back_off}");
    }
    // Manual syncs are tried at once.
    test.run_sync(false).await.unwrap_err();
    test.set_base_url(&format!("{}/healed", fake.url)).await;
    test.run_sync(false).await.unwrap();
    let open =
        "select count(*) from connector_state where credentials_refused_at is null and retry_at is null";
    assert_eq!(test.number(open).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_backs_off_after_three_failures_and_respects_retry_after() {
    let test = TestWorker::start().await;
    test.set_base_url(&start_faulty_server("HTTP/1.1 500 Oops\r\n", Vec::new()).await).await;
    let mut back_offs = Vec::new();
    for failures in [0, 5, 8, 40] {
        sqlx::query("update connector_state set failures = $1")
            .bind(failures)
            .execute(&test.pool)
            .await
            .unwrap();
        test.run_sync(false).await.unwrap_err();
        back_offs.push(test.number(BACK_OFF).await);
    }
    assert_eq!(back_offs, [0, 4, 32, 60]);
    test.set_base_url(&start_faulty_server("HTTP/1.1 503 Busy\r\nretry-after: 900\r\n", Vec::new()).await)
        .await;
    test.run_sync(false).await.unwrap_err();
    assert_eq!(test.number(BACK_OFF).await, 900, "the server sent retry-after");
    test.execute("update connector_state set next_due_at = now()").await;
    assert_eq!(schedule::enqueue_due(&test.pool).await.unwrap(), 0, "no sync is scheduled before retry_at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sync_ends_at_the_next_renewal_and_keeps_its_error() {
    // Connections are accepted by the system, and no request is answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let test = TestWorker::start().await;
    test.set_base_url(&format!("http://{}", silent.local_addr().unwrap())).await;
    test.enqueue_sync(false, false).await;
    let cancel = async {
        test.wait_for("select count(*) = 1 from syncs where status = 'running'").await;
        test.execute("update syncs set status = 'failed', finished_at = now(), error = 'Ada cancelled it'")
            .await;
    };
    let (outcome, ()) = tokio::join!(test.run_next(), cancel);
    assert!(matches!(outcome, Err(SyncError::Cancelled)), "{outcome:?}");
    let kept = "select count(*) from syncs where status = 'failed' and error = 'Ada cancelled it'";
    assert_eq!(test.number(kept).await, 1);
    assert_eq!(test.number("select failures::bigint from connector_state").await, 0, "it is not a failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_with_characters_that_postgresql_refuses_ends_the_sync() {
    let test = TestWorker::start().await;
    let refused = br#"{"detail":"no\u0000thing","version":"3.3.2"}"#.to_vec();
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n";
    test.set_base_url(&start_faulty_server(head, refused).await).await;
    test.run_sync(false).await.unwrap_err();
    let stored = "select count(*) from syncs where status = 'failed' and error like '%no\u{fffd}thing%'";
    assert_eq!(test.number(stored).await, 1);
}
