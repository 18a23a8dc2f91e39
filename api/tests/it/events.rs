//! The event stream: which changes it contains, who receives them, and when it ends.

use std::time::Duration;

use axum::http::Method;
use contract::events::{RunConf, RunObserved};
use contract::ids::PipelineId;
use contract::state::{RunState, TaskState};
use local::LocalService;
use platform::health::Heartbeat;
use serde_json::{Value, json};
use testkit::ApiProcess;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::app::SPACE;
use crate::event_stream::{StreamClient, StreamedEvent};
use crate::installation::TestInstallation;
use crate::seed::{ADMIN, EDITOR, OTHER_EDITOR, STRANGER, VIEWER};

/// Heartbeats every second.
const HEARTBEAT: [&str; 2] = ["--stream-heartbeat", "1"];

pub(crate) fn streamed<T: serde::Serialize>(kind: &str, event: &T) -> StreamedEvent {
    StreamedEvent { kind: kind.to_owned(), data: serde_json::to_value(event).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_contains_every_kind_of_event_of_the_contract() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    assert!(!stream.headers.contains_key("etag") && !stream.headers.contains_key("content-encoding"));
    let pipeline = test.pipeline("sales");
    test.send(std::slice::from_ref(&pipeline)).await;
    assert_eq!(stream.next().await, Some(streamed("pipeline", &pipeline)));
    let run = test.run("sales", "r1", RunState::Running);
    test.send(std::slice::from_ref(&run)).await;
    assert_eq!(stream.next().await, Some(streamed("run", &run)));
    let task_run = test.task_run("sales", "r1", "load", TaskState::UpstreamFailed);
    test.send(std::slice::from_ref(&task_run)).await;
    assert_eq!(stream.next().await, Some(streamed("task_run", &task_run)));
    let sync = format!("/connectors/{}/sync", test.api.connector);
    let filters = test.api.request(Method::POST, EDITOR, &sync, Value::Null).await.expect(202);
    let event = stream.next().await.unwrap();
    assert_eq!((event.kind.as_str(), &event.data["id"]), ("sync", &filters["id"]));
    assert_eq!((&event.data["status"], &event.data["space"]), (&json!("queued"), &json!(SPACE)));
    let criticality = format!("/pipelines/{}/criticality", pipeline.id);
    let high = json!({"criticality": "high"});
    let governed = test.api.request(Method::PATCH, EDITOR, &criticality, high).await.expect(200);
    let comments = format!("/runs/{}/comments", run.id);
    let said = json!({"content": "Backfill"});
    let comment = test.api.request(Method::POST, EDITOR, &comments, said).await.expect(201);
    let mut events = stream.take(3).await;
    events.retain(|event| event.kind != "sync");
    events.sort_by_key(|event| event.kind.clone());
    let kinds: Vec<_> = events.iter().map(|event| (event.kind.as_str(), &event.data["id"])).collect();
    assert_eq!(kinds, [("comment", &comment["id"]), ("governance", &governed["id"])]);
    let changed = (&events[0].data["content"], &events[1].data["criticality"]);
    assert_eq!(changed, (&json!("Backfill"), &json!("high")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_and_its_comments_are_streamed_to_those_who_look_at_its_pipeline() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let pipeline = test.pipeline("sales");
    let query = format!("?pipeline_id={}", pipeline.id);
    let mut stream = StreamClient::open(&api.url, VIEWER, &query, None).await;
    test.send(std::slice::from_ref(&pipeline)).await;
    assert_eq!(stream.next().await.unwrap(), streamed("pipeline", &pipeline));
    let incident = test.api.incident(pipeline.id, "failing").await;
    let path = format!("/incidents/{incident}/comments");
    let comment = test.api.request(Method::POST, EDITOR, &path, json!({"content": "Hm"})).await.expect(201);
    let event = stream.next().await.unwrap();
    assert_eq!((event.kind.as_str(), &event.data["id"]), ("comment", &comment["id"]));
    let ids = (&event.data["incident_id"], &event.data["run_id"]);
    assert_eq!((ids, &event.data["content"]), ((&json!(incident), &Value::Null), &json!("Hm")));
    let path = path.replace("comments", "acknowledge");
    test.api.request(Method::POST, EDITOR, &path, Value::Null).await.expect(200);
    let StreamedEvent { kind, data } = stream.next().await.unwrap();
    let seen = (kind.as_str(), &data["id"], &data["status"]);
    assert_eq!(seen, ("incident", &json!(incident), &json!("acknowledged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_streamed_once_it_is_projected() {
    let test = TestInstallation::idle(&local::kafka().await.unwrap()).await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let runs = [test.run("sales", "r1", RunState::Running), test.run("sales", "r1", RunState::Failed)];
    test.send(&[test.pipeline("sales")]).await;
    test.send(&runs).await;
    stream.expect_heartbeat().await;
    stream.expect_heartbeat().await;
    test.start_worker().await;
    let mut events = stream.take(3).await;
    events.retain(|event| event.kind == "run");
    assert_eq!(events, [streamed("run", &runs[0]), streamed("run", &runs[1])]);
    assert_eq!(test.api.read(&format!("/runs/{}", runs[1].id)).await["status"], "failed");
}

#[expect(clippy::too_many_lines, reason = "one line a filter")]
#[tokio::test(flavor = "multi_thread")]
async fn filters_select_the_streamed_events() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let (sales, stock) = (test.pipeline("sales"), test.pipeline("stock"));
    let mut all = StreamClient::open(&api.url, VIEWER, "", None).await;
    test.send(&[sales.clone(), stock.clone()]).await;
    all.take(2).await;
    let govern = async |pipeline: PipelineId, what: &str, value: Value| {
        let path = format!("/pipelines/{pipeline}/{what}");
        test.api.request(Method::PATCH, EDITOR, &path, value).await.expect(200);
    };
    govern(sales.id, "team", json!({"team_id": test.api.team})).await;
    govern(sales.id, "criticality", json!({"criticality": "high"})).await;
    govern(stock.id, "criticality", json!({"criticality": "low"})).await;
    assert!(all.take(3).await.iter().all(|event| event.kind == "governance"));

    let run = |pipeline: &str, status| ("run", streamed("run", &test.run(pipeline, "r", status)));
    let task = |status| ("task", streamed("task_run", &test.task_run("sales", "r", "load", status)));
    let changes = [
        ("pipeline", streamed("pipeline", &test.pipeline("sales"))),
        run("sales", RunState::Running),
        run("stock", RunState::Failed),
        run("unknown", RunState::Failed),
        task(TaskState::Failed),
        task(TaskState::Success),
    ];
    let filters = [
        ("type=task_run", vec![4, 5]),
        ("type=pipeline&type=run", vec![0, 1, 2, 3]),
        ("status=failed", vec![2, 3, 4]),
        ("status=running&status=success", vec![1, 5]),
        (&format!("pipeline_id={}", stock.id), vec![2]),
        (&format!("team_id={}", test.api.team), vec![0, 1, 4, 5]),
        (&format!("team_id={}", test.api.other_team), vec![]),
        ("criticality=high", vec![0, 1, 4, 5]),
        ("criticality=low&criticality=high&type=run", vec![1, 2]),
        ("criticality=critical", vec![]),
        (&format!("team_id={}&status=failed&type=task_run", test.api.team), vec![4]),
    ];
    let mut streams = Vec::new();
    for (query, expected) in &filters {
        let stream = StreamClient::open(&api.url, VIEWER, query, None).await;
        streams.push((query, expected, stream));
    }
    for (_, change) in &changes {
        publish(&test, change).await;
        assert_eq!(all.next().await.as_ref(), Some(change));
    }
    for (query, expected, stream) in &mut streams {
        let events = stream.take(expected.len()).await;
        let expected: Vec<_> = expected.iter().map(|change| changes[*change].1.clone()).collect();
        assert_eq!(events, expected, "{query}");
        stream.expect_heartbeat().await;
    }
}

/// Publishes an event again.
async fn publish(test: &TestInstallation, change: &StreamedEvent) {
    let data = change.data.clone();
    match change.kind.as_str() {
        "pipeline" => {
            test.send::<contract::events::PipelineObserved>(&[serde_json::from_value(data).unwrap()]).await;
        }
        "run" => test.send::<RunObserved>(&[serde_json::from_value(data).unwrap()]).await,
        _ => test.send::<contract::events::TaskRunObserved>(&[serde_json::from_value(data).unwrap()]).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_invalid_filters_are_returned_together() {
    let test = TestInstallation::start().await;
    let query = "type=pod&status=never_run&pipeline_id=x&team_id=&criticality=urgent&unknown=1";
    let response = test.api.get(&format!("/spaces/{SPACE}/orchestration/events?{query}")).await;
    assert_eq!(response.status, 422);
    let fields = response.invalid_fields();
    let expected = ["criticality", "pipeline_id", "status", "team_id", "type"];
    assert_eq!(fields, expected.map(|name| format!("query.{name}")));
}

/// An event's space is that of its connector's row, even if the record contains another one.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_spaces_are_not_streamed() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut own = StreamClient::open(&api.url, VIEWER, "", None).await;
    let mut other = StreamClient::open_in("other", &api.url, STRANGER, "", None).await;
    let rejected = StreamClient::try_open("other", &api.url, VIEWER, "", None).await.err();
    assert_eq!(rejected, Some((404, json!({"detail": "Space not found"}))));

    let of_other = test.run_of(test.api.other_connector, "sales", "r1", RunState::Running);
    let disguised = RunObserved { space: SPACE.to_owned(), version: 10, ..of_other.clone() };
    let of_no_connector =
        RunObserved { connector_id: uuid::Uuid::nil().into(), version: 11, ..disguised.clone() };
    test.send(&[of_other.clone(), disguised.clone(), of_no_connector]).await;
    assert_eq!(other.take(2).await, [streamed("run", &of_other), streamed("run", &disguised)]);
    own.expect_heartbeat().await;
    let of_own = RunObserved { version: 12, ..test.run("sales", "r1", RunState::Success) };
    test.send(std::slice::from_ref(&of_own)).await;
    assert_eq!(own.next().await, Some(streamed("run", &of_own)));
    other.expect_heartbeat().await;
    // An event id of another space is rejected.
    let mut stray = StreamClient::open(&api.url, VIEWER, "", other.last_id.as_deref()).await;
    assert_eq!(stray.next().await.unwrap().kind, "reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_records_are_skipped() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let good = test.run("sales", "r1", RunState::Success);
    let mut broken = contract::events::Record::of(&good).unwrap();
    broken.payload = b"{\"id\": 12".to_vec();
    platform::kafka::Producer::new(&test.kafka).unwrap().send(&[broken]).await.unwrap();
    test.send(std::slice::from_ref(&good)).await;
    assert_eq!(stream.next().await, Some(streamed("run", &good)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_lost_membership_end_the_stream() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut revoked = StreamClient::open(&api.url, VIEWER, "", None).await;
    let mut removed = StreamClient::open(&api.url, EDITOR, "", None).await;
    let mut others = StreamClient::open(&api.url, ADMIN, "", None).await;
    let (cookie, _) = test.api.sign_in(ADMIN).await;
    let mut signed_out = StreamClient::open(&api.url, &cookie, "", None).await;
    revoked.expect_heartbeat().await;
    let keys = test.api.get("/api-keys").await.expect(200);
    let key = format!("/api-keys/{}", keys[0]["id"].as_str().unwrap());
    test.api.send(Method::DELETE, VIEWER, &key, None).await.expect(204);
    let edith = test.api.id("select id from users where name = 'Edith'").await;
    let member = format!("/spaces/{SPACE}/members/{edith}");
    test.api.send(Method::DELETE, ADMIN, &member, None).await.expect(204);
    test.api.sql("delete from sessions").await;
    for stream in [&mut revoked, &mut removed, &mut signed_out] {
        let end = stream.next().await.unwrap();
        assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("access_lost")));
        assert!(end.data["detail"].is_string());
        assert_eq!(stream.next().await, None);
    }
    let run = test.run("sales", "r1", RunState::Success);
    test.send(std::slice::from_ref(&run)).await;
    assert_eq!(others.next().await, Some(streamed("run", &run)), "other streams stay open");
    let code = async |key| StreamClient::try_open(SPACE, &api.url, key, "", None).await.err().unwrap().0;
    assert_eq!((code(VIEWER).await, code(EDITOR).await), (401, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_by_key_and_in_total() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &["--streams", "3", "--streams-per-key", "2"]).await;
    let open = async |key| StreamClient::try_open(SPACE, &api.url, key, "", None).await;
    let first = StreamClient::open(&api.url, VIEWER, "", None).await;
    let _second = open(VIEWER).await.unwrap();
    let (code, body) = open(VIEWER).await.err().unwrap();
    assert_eq!(code, 429);
    assert!(body["detail"].as_str().unwrap().contains("2 event streams open"), "{body}");
    let _third = open(EDITOR).await.unwrap();
    assert_eq!(open(OTHER_EDITOR).await.err().unwrap().0, 503);
    drop(first);
    let is_opened = async || open(OTHER_EDITOR).await.is_ok();
    testkit::eventually("a stream is free again", Duration::from_secs(60), is_opened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_as_one_request_of_the_rate_limit() {
    let test = TestInstallation::start().await;
    let limits = ["--rate-limit-per-minute", "1000", "--stream-heartbeat", "1"];
    let api = ApiProcess::start(&test.settings, &limits).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let left = |stream: &StreamClient| -> i64 {
        stream.headers["x-ratelimit-remaining"].to_str().unwrap().parse().unwrap()
    };
    // Long enough for the key to be checked again more than once.
    for _ in 0..7 {
        stream.expect_heartbeat().await;
    }
    let next = StreamClient::open(&api.url, VIEWER, "", None).await;
    // A new minute may have begun in between.
    assert!([left(&stream) - 1, 999].contains(&left(&next)), "{} {}", left(&stream), left(&next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_every_stream_with_an_end_event() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let stopped = tokio::spawn(api.stop());
    let end = stream.next().await.unwrap();
    assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("stopping")));
    assert_eq!(stream.next().await, None);
    let took = stopped.await.unwrap();
    assert!(took < Duration::from_secs(12), "streams delay the stop: {took:?}");
}

const KAFKA_SERVICE: &str = "kafka-live";

#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_open_without_kafka_and_continue_when_it_is_back() {
    let test = TestInstallation::idle(&local::kafka_instance(KAFKA_SERVICE).await.unwrap()).await;
    test.start_worker().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let before = test.run("sales", "r1", RunState::Running);
    test.send(std::slice::from_ref(&before)).await;
    assert_eq!(stream.next().await, Some(streamed("run", &before)));
    LocalService::named(KAFKA_SERVICE).kill().await.unwrap();
    stream.expect_heartbeat().await;
    stream.expect_heartbeat().await;
    let mut late = StreamClient::try_open(SPACE, &api.url, VIEWER, "", None).await.unwrap();
    let fresh = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let rejected = StreamClient::try_open(SPACE, &fresh.url, VIEWER, "", None).await.err();
    assert_eq!(rejected.unwrap().0, 503);

    local::kafka_instance(KAFKA_SERVICE).await.unwrap();
    let after = test.run("sales", "r1", RunState::Success);
    test.send(std::slice::from_ref(&after)).await;
    assert_eq!(stream.next().await, Some(streamed("run", &after)));
    assert_eq!(late.next().await, Some(streamed("run", &after)));
    StreamClient::open(&fresh.url, VIEWER, "", None).await;
    LocalService::named(KAFKA_SERVICE).stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_an_end_event() {
    let test = TestInstallation::start().await;
    let app = test.api.app.clone();
    tokio::spawn(api::stream::run(app.stream.clone(), Heartbeat::default()));
    let mut slow = StreamClient::within(&test.api, VIEWER).await;
    let mut reader = StreamClient::within(&test.api, EDITOR).await;
    // More events than the buffer holds, in batches that the other reader keeps up with.
    for _ in 0..6 {
        let runs: Vec<_> = (0..200).map(|_| test.run("sales", "r1", RunState::Running)).collect();
        test.send(&runs).await;
        reader.take(200).await;
    }
    let end = slow.next().await.unwrap();
    assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("too_slow")));
    assert_eq!(slow.next().await, None);
}

/// Opens a stream on a socket and never reads from it.
async fn connect_without_reading(api: &ApiProcess) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let mut client = socket.connect(api.url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/events");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {EDITOR}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_disconnected_and_use_bounded_memory() {
    const CLIENTS: usize = 15;
    const CHANGES: usize = 4_000;
    const BYTES: usize = 8_000;
    let test = TestInstallation::start().await;
    let arguments = [HEARTBEAT[0], HEARTBEAT[1], "--stream-history", "1500"];
    let api = ApiProcess::start(&test.settings, &arguments).await;
    let mut reader = StreamClient::open(&api.url, VIEWER, "", None).await;
    let mut unread = Vec::new();
    for _ in 0..CLIENTS {
        unread.push(connect_without_reading(&api).await);
    }
    let open = async |count: usize| {
        while api.metric("orchestration_live_streams").await != Some(count as f64) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    open(CLIENTS + 1).await;
    let before = api.memory();
    let conf = RunConf::from(json!({"x": "x".repeat(BYTES)}));
    // Each batch is read before the next one, so that this reader is never too slow.
    for batch in 0..CHANGES / 500 {
        let run = |n: usize| RunObserved {
            conf: conf.clone(),
            ..test.run("sales", &format!("r{}", batch * 500 + n), RunState::Success)
        };
        test.send(&(0..500).map(run).collect::<Vec<_>>()).await;
        reader.take(500).await;
    }
    let published = CLIENTS * CHANGES * BYTES / (1 << 20);
    let grown = api.memory().saturating_sub(before);
    assert!(grown < 120, "{grown} MiB more memory for {published} MiB of events");

    let cut_off = tokio::time::timeout(Duration::from_secs(100), open(1));
    cut_off.await.expect("clients that never read are disconnected");
    let last = test.run("sales", "last", RunState::Success);
    test.send(std::slice::from_ref(&last)).await;
    assert_eq!(reader.next().await, Some(streamed("run", &last)), "a client that reads stays connected");
}
