//! Changes as they happen: what a stream tells, to whom, and when it ends.

use std::time::Duration;

use axum::http::Method;
use contract::events::RunObserved;
use contract::ids::PipelineId;
use contract::state::{RunState, TaskState};
use local::LocalService;
use serde_json::{Value, json};
use testkit::ApiProcess;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::app::SPACE;
use crate::event_stream::{Event, EventStream};
use crate::installation::TestInstallation;
use crate::seed::{ADMIN, EDITOR, OTHER_EDITOR, STRANGER, VIEWER};

/// A silent stream says every second that it lives.
const LIVELY: [&str; 2] = ["--stream-heartbeat", "1"];

fn told<T: serde::Serialize>(kind: &str, event: &T) -> Event {
    Event { kind: kind.to_owned(), data: serde_json::to_value(event).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_told_in_the_words_of_the_contract() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    assert!(!stream.headers.contains_key("etag") && !stream.headers.contains_key("content-encoding"));
    let pipeline = test.pipeline("sales");
    test.send(std::slice::from_ref(&pipeline)).await;
    assert_eq!(stream.next().await, Some(told("pipeline", &pipeline)));
    let run = test.run("sales", "r1", RunState::Running);
    test.send(std::slice::from_ref(&run)).await;
    assert_eq!(stream.next().await, Some(told("run", &run)));
    let task_run = test.task_run("sales", "r1", "load", TaskState::UpstreamFailed);
    test.send(std::slice::from_ref(&task_run)).await;
    assert_eq!(stream.next().await, Some(told("task_run", &task_run)));
    let sync = format!("/connectors/{}/sync", test.api.connector);
    let asked = test.api.request(Method::POST, EDITOR, &sync, Value::Null).await.expect(202);
    let event = stream.next().await.unwrap();
    assert_eq!((event.kind.as_str(), &event.data["id"]), ("sync", &asked["id"]));
    assert_eq!((&event.data["status"], &event.data["space"]), (&json!("queued"), &json!(SPACE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_once_the_reads_show_it() {
    let test = TestInstallation::idle(&local::kafka().await.unwrap()).await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let runs = [test.run("sales", "r1", RunState::Running), test.run("sales", "r1", RunState::Failed)];
    test.send(&[test.pipeline("sales")]).await;
    test.send(&runs).await;
    stream.silence().await;
    stream.silence().await;
    test.start_worker().await;
    let mut events = stream.take(3).await;
    events.retain(|event| event.kind == "run");
    assert_eq!(events, [told("run", &runs[0]), told("run", &runs[1])]);
    assert_eq!(test.api.read(&format!("/runs/{}", runs[1].id)).await["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_what_is_told() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let (sales, stock) = (test.pipeline("sales"), test.pipeline("stock"));
    let mut all = EventStream::open(&api.url, VIEWER, "", None).await;
    test.send(&[sales.clone(), stock.clone()]).await;
    all.take(2).await;
    let decide = async |pipeline: PipelineId, what: &str, value: Value| {
        let path = format!("/pipelines/{pipeline}/{what}");
        test.api.request(Method::PATCH, EDITOR, &path, value).await.expect(200);
    };
    decide(sales.id, "team", json!({"team_id": test.api.team})).await;
    decide(sales.id, "criticality", json!({"criticality": "high"})).await;
    decide(stock.id, "criticality", json!({"criticality": "low"})).await;

    let run = |pipeline: &str, status| ("run", told("run", &test.run(pipeline, "r", status)));
    let task = |status| ("task", told("task_run", &test.task_run("sales", "r", "load", status)));
    let changes = [
        ("pipeline", told("pipeline", &test.pipeline("sales"))),
        run("sales", RunState::Running),
        run("stock", RunState::Failed),
        run("nobody's", RunState::Failed),
        task(TaskState::Failed),
        task(TaskState::Success),
    ];
    let asked = [
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
    for (query, expected) in &asked {
        let stream = EventStream::open(&api.url, VIEWER, query, None).await;
        streams.push((query, expected, stream));
    }
    for (_, change) in &changes {
        send_again(&test, change).await;
        assert_eq!(all.next().await.as_ref(), Some(change));
    }
    for (query, expected, stream) in &mut streams {
        let events = stream.take(expected.len()).await;
        let expected: Vec<_> = expected.iter().map(|change| changes[*change].1.clone()).collect();
        assert_eq!(events, expected, "{query}");
        stream.silence().await;
    }
}

/// Sends what an event of the stream tells.
async fn send_again(test: &TestInstallation, change: &Event) {
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
async fn bad_filters_are_all_told_at_once() {
    let test = TestInstallation::start().await;
    let query = "type=pod&status=never_run&pipeline_id=x&team_id=&criticality=urgent&unknown=1";
    let answer = test.api.get(&format!("/spaces/{SPACE}/orchestration/events?{query}")).await;
    assert_eq!(answer.status, 422);
    let places = answer.invalid_fields();
    let expected = ["criticality", "pipeline_id", "status", "team_id", "type"];
    assert_eq!(places, expected.map(|name| format!("query.{name}")));
}

/// What counts is the connector, as PostgreSQL knows it, and not what a record says of itself.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_another_space() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut ours = EventStream::open(&api.url, VIEWER, "", None).await;
    let mut theirs = EventStream::open_in("other", &api.url, STRANGER, "", None).await;
    let refused = EventStream::try_open("other", &api.url, VIEWER, "", None).await.err();
    assert_eq!(refused, Some((404, json!({"detail": "Space not found"}))));

    let of_theirs = test.run_of(test.api.other_connector, "sales", "r1", RunState::Running);
    let disguised = RunObserved { space: SPACE.to_owned(), version: 10, ..of_theirs.clone() };
    let nobodys = RunObserved { connector_id: uuid::Uuid::nil().into(), version: 11, ..disguised.clone() };
    test.send(&[of_theirs.clone(), disguised.clone(), nobodys]).await;
    assert_eq!(theirs.take(2).await, [told("run", &of_theirs), told("run", &disguised)]);
    ours.silence().await;
    let of_ours = RunObserved { version: 12, ..test.run("sales", "r1", RunState::Success) };
    test.send(std::slice::from_ref(&of_ours)).await;
    assert_eq!(ours.next().await, Some(told("run", &of_ours)));
    theirs.silence().await;
    // An id of theirs opens nothing here.
    let mut stray = EventStream::open(&api.url, VIEWER, "", theirs.last_id.as_deref()).await;
    assert_eq!(stray.next().await.unwrap().kind, "reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_a_topic_is_passed_over() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let good = test.run("sales", "r1", RunState::Success);
    let mut broken = contract::events::Record::of(&good).unwrap();
    broken.payload = b"{\"id\": 12".to_vec();
    platform::kafka::Producer::new(&test.kafka).unwrap().send(&[broken]).await.unwrap();
    test.send(std::slice::from_ref(&good)).await;
    assert_eq!(stream.next().await, Some(told("run", &good)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_lost_membership_end_the_stream() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut revoked = EventStream::open(&api.url, VIEWER, "", None).await;
    let mut expelled = EventStream::open(&api.url, EDITOR, "", None).await;
    let mut others = EventStream::open(&api.url, ADMIN, "", None).await;
    revoked.silence().await;
    test.api.sql("update api_keys set revoked_at = now() where prefix = 'qk_victor'").await;
    test.api.sql("delete from memberships where user_id = (select id from users where name = 'Edith')").await;
    for stream in [&mut revoked, &mut expelled] {
        let end = stream.next().await.unwrap();
        assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("access_lost")));
        assert!(end.data["detail"].is_string());
        assert_eq!(stream.next().await, None);
    }
    let run = test.run("sales", "r1", RunState::Success);
    test.send(std::slice::from_ref(&run)).await;
    assert_eq!(others.next().await, Some(told("run", &run)), "the others go on");
    let code = async |key| EventStream::try_open(SPACE, &api.url, key, "", None).await.err().unwrap().0;
    assert_eq!((code(VIEWER).await, code(EDITOR).await), (401, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_by_key_and_in_all() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &["--streams", "3", "--streams-per-key", "2"]).await;
    let open = async |key| EventStream::try_open(SPACE, &api.url, key, "", None).await;
    let first = EventStream::open(&api.url, VIEWER, "", None).await;
    let _second = open(VIEWER).await.unwrap();
    let (code, body) = open(VIEWER).await.err().unwrap();
    assert_eq!(code, 429);
    assert!(body["detail"].as_str().unwrap().contains("2 event streams open"), "{body}");
    let _third = open(EDITOR).await.unwrap();
    assert_eq!(open(OTHER_EDITOR).await.err().unwrap().0, 503);
    drop(first);
    let opened = async { while open(OTHER_EDITOR).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), opened).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_one_request_to_the_limit() {
    let test = TestInstallation::start().await;
    let limits = ["--rate-limit-per-minute", "1000", "--stream-heartbeat", "1"];
    let api = ApiProcess::start(&test.settings, &limits).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let left = |stream: &EventStream| -> i64 {
        stream.headers["x-ratelimit-remaining"].to_str().unwrap().parse().unwrap()
    };
    // Long enough for the key to be looked at again, more than once.
    for _ in 0..7 {
        stream.silence().await;
    }
    let next = EventStream::open(&api.url, VIEWER, "", None).await;
    // A minute may have begun in between.
    assert!([left(&stream) - 1, 999].contains(&left(&next)), "{} {}", left(&stream), left(&next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_every_stream_with_a_word() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let stopped = tokio::spawn(api.stop());
    let end = stream.next().await.unwrap();
    assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("stopping")));
    assert_eq!(stream.next().await, None);
    let took = stopped.await.unwrap();
    assert!(took < Duration::from_secs(12), "no stream holds the process up: {took:?}");
}

const KAFKA: &str = "kafka-live";

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_streams_stay_open_and_go_on_by_themselves() {
    let test = TestInstallation::idle(&local::kafka_instance(KAFKA).await.unwrap()).await;
    test.start_worker().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let before = test.run("sales", "r1", RunState::Running);
    test.send(std::slice::from_ref(&before)).await;
    assert_eq!(stream.next().await, Some(told("run", &before)));
    LocalService::named(KAFKA).kill().await.unwrap();
    stream.silence().await;
    stream.silence().await;
    let mut late = EventStream::try_open(SPACE, &api.url, VIEWER, "", None).await.unwrap();
    let fresh = ApiProcess::start(&test.settings, &LIVELY).await;
    let refused = EventStream::try_open(SPACE, &fresh.url, VIEWER, "", None).await.err();
    assert_eq!(refused.unwrap().0, 503);

    local::kafka_instance(KAFKA).await.unwrap();
    let after = test.run("sales", "r1", RunState::Success);
    test.send(std::slice::from_ref(&after)).await;
    assert_eq!(stream.next().await, Some(told("run", &after)));
    assert_eq!(late.next().await, Some(told("run", &after)));
    EventStream::open(&fresh.url, VIEWER, "", None).await;
    LocalService::named(KAFKA).stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_more_slowly_than_things_happen_is_told_so_and_left() {
    let test = TestInstallation::start().await;
    let app = test.api.app.clone();
    tokio::spawn(api::stream::run(app));
    let mut slow = EventStream::within(&test.api, VIEWER).await;
    let mut reader = EventStream::within(&test.api, EDITOR).await;
    // More than the history of this test, in parts that the reader has time for.
    for _ in 0..6 {
        let runs: Vec<_> = (0..200).map(|_| test.run("sales", "r1", RunState::Running)).collect();
        test.send(&runs).await;
        reader.take(200).await;
    }
    let end = slow.next().await.unwrap();
    assert_eq!((end.kind.as_str(), &end.data["reason"]), ("end", &json!("too_slow")));
    assert_eq!(slow.next().await, None);
}

/// Connects and asks for events, and takes nothing of what comes.
async fn connect_deaf(api: &ApiProcess) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let mut client = socket.connect(api.url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/events");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {EDITOR}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_are_cut_off_and_cost_hardly_any_memory() {
    const CLIENTS: usize = 15;
    const CHANGES: usize = 4_000;
    const BYTES: usize = 8_000;
    let test = TestInstallation::start().await;
    let lively = [LIVELY[0], LIVELY[1], "--stream-history", "1500"];
    let api = ApiProcess::start(&test.settings, &lively).await;
    let mut reader = EventStream::open(&api.url, VIEWER, "", None).await;
    let mut deaf = Vec::new();
    for _ in 0..CLIENTS {
        deaf.push(connect_deaf(&api).await);
    }
    let open = async |many: usize| {
        while api.metric("orchestration_live_streams").await != Some(many as f64) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    open(CLIENTS + 1).await;
    let before = api.memory();
    let conf = json!({"x": "x".repeat(BYTES)});
    // What is sent is read before there is more, so that the reader itself is never too slow.
    for batch in 0..CHANGES / 500 {
        let run = |n: usize| RunObserved {
            conf: conf.clone(),
            ..test.run("sales", &format!("r{}", batch * 500 + n), RunState::Success)
        };
        test.send(&(0..500).map(run).collect::<Vec<_>>()).await;
        reader.take(500).await;
    }
    let told = CLIENTS * CHANGES * BYTES / (1 << 20);
    let grown = api.memory().saturating_sub(before);
    assert!(grown < 120, "{grown} MiB more, while {told} MiB were to be told");

    let cut_off = tokio::time::timeout(Duration::from_secs(100), open(1));
    cut_off.await.expect("who reads nothing is cut off");
    let last = test.run("sales", "last", RunState::Success);
    test.send(std::slice::from_ref(&last)).await;
    assert_eq!(reader.next().await, Some(told_run(&last)), "who reads goes on");
}

fn told_run(run: &RunObserved) -> Event {
    told("run", run)
}
