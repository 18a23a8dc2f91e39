//! Streams that are resumed after a disconnect: no event is missed, or a reset event says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::stream::Positions;
use contract::events::{Record, RunObserved, Topic};
use contract::state::{RunState, TaskState};
use platform::kafka::Producer;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use serde_json::json;
use testkit::{ApiProcess, keyring};
use tokio::sync::watch;

use crate::app::{OTHER_SPACE, SPACE};
use crate::event_stream::{StreamClient, StreamedEvent};
use crate::installation::TestInstallation;
use crate::seed::{STRANGER, VIEWER};

const HEARTBEAT: [&str; 2] = ["--stream-heartbeat", "1"];
/// Fewer than a replica buffers, however slow the machine is.
const MAX_CHANGES: usize = 6_000;

const RUNS: usize = 8;

/// The number of runs and task runs that succeeded.
fn succeeded_entities(received_events: &[StreamedEvent]) -> usize {
    let succeeded = received_events.iter().filter(|event| event.data["status"] == "success");
    succeeded.map(|event| event.version().0).collect::<BTreeSet<_>>().len()
}

/// Publishes changes of both spaces' runs until `end` is true, and then the success of each of the first
/// space's. Returns the versions published of each entity of the first space.
async fn publish_changes(
    test: &TestInstallation,
    mut end: watch::Receiver<bool>,
) -> BTreeMap<String, Vec<i64>> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut sent = BTreeMap::<String, Vec<i64>>::new();
    let mut is_end = false;
    let mut changes = 0;
    loop {
        let mut batch = Vec::new();
        for n in 0..RUNS {
            let name = format!("r{n}");
            let run = test.run("sales", &name, RunState::Running);
            let status = if is_end { RunState::Success } else { RunState::Running };
            if is_end || rng.random_bool(0.4) {
                sent.entry(run.id.to_string()).or_default().push(run.version);
                batch.push(RunObserved { status, ..run });
            }
            if rng.random_bool(0.3) {
                batch.push(test.run_of(test.api.other_connector, "sales", &name, RunState::Failed));
            }
        }
        changes += batch.len();
        test.send(&batch).await;
        if is_end || rng.random_bool(0.3) {
            let status = if is_end { TaskState::Success } else { TaskState::Running };
            let task_run = test.task_run("sales", "r0", "load", status);
            sent.entry(task_run.id.to_string()).or_default().push(task_run.version);
            test.send(&[task_run]).await;
        }
        if is_end {
            return sent;
        }
        let pause = Duration::from_millis(if changes < MAX_CHANGES { 15 } else { 60_000 });
        let _ = tokio::time::timeout(pause, end.wait_for(|end| *end)).await;
        is_end = *end.borrow();
    }
}

/// A client that disconnects again and again, and resumes from its last id on a random replica.
struct ReconnectingClient {
    rng: StdRng,
    last_id: Option<String>,
    received_events: Vec<StreamedEvent>,
}

impl ReconnectingClient {
    async fn open(&mut self, replicas: &[ApiProcess]) -> StreamClient {
        loop {
            let replica = &replicas[self.rng.random_range(0..replicas.len())];
            match StreamClient::try_open(SPACE, &replica.url, VIEWER, "", self.last_id.as_deref()).await {
                Ok(stream) => return stream,
                Err((code, body)) => assert!(code == 0 || code == 503, "{code} {body}"),
            }
        }
    }

    /// Reads until `is_enough`, or until the connection breaks.
    async fn read(&mut self, stream: &mut StreamClient, is_enough: impl Fn(&[StreamedEvent], usize) -> bool) {
        let before = self.received_events.len();
        while !is_enough(&self.received_events, self.received_events.len() - before) {
            let Some(event) = stream.next().await else { break };
            assert_ne!(event.kind, "reset", "{}", event.data);
            if event.kind != "end" {
                self.received_events.push(event);
            }
        }
        self.last_id = stream.last_id.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_disconnected_twenty_times_receives_every_event_of_its_space_in_order() {
    let test = TestInstallation::start().await;
    let mut replicas = vec![
        ApiProcess::start(&test.settings, &HEARTBEAT).await,
        ApiProcess::start(&test.settings, &HEARTBEAT).await,
    ];
    let mut client =
        ReconnectingClient { rng: StdRng::seed_from_u64(11), last_id: None, received_events: Vec::new() };
    let mut stream = client.open(&replicas).await;
    let (end, ended) = watch::channel(false);
    let changing = publish_changes(&test, ended);
    let listening = async {
        for round in 0..20 {
            let count = client.rng.random_range(0..30);
            client.read(&mut stream, |_, read| read >= count).await;
            drop(stream);
            if round % 4 == 1 {
                let replica = replicas.remove(0);
                match round % 8 {
                    1 => drop(replica),
                    _ => _ = replica.stop().await,
                }
                replicas.push(ApiProcess::start(&test.settings, &HEARTBEAT).await);
            }
            tokio::time::sleep(Duration::from_millis(client.rng.random_range(0..400))).await;
            stream = client.open(&replicas).await;
        }
        end.send_replace(true);
        while succeeded_entities(&client.received_events) < RUNS + 1 {
            client.read(&mut stream, |received_events, _| succeeded_entities(received_events) > RUNS).await;
            stream = client.open(&replicas).await;
        }
        client.received_events
    };
    let (sent, received_events) = tokio::join!(changing, listening);

    assert_complete(&test, &sent, &received_events);
}

/// Asserts that every version of each entity was received, in order, and no event of another space.
fn assert_complete(
    test: &TestInstallation,
    sent: &BTreeMap<String, Vec<i64>>,
    received_events: &[StreamedEvent],
) {
    let mut received = BTreeMap::<String, Vec<i64>>::new();
    for event in received_events {
        assert_eq!(
            (&event.data["space"], &event.data["connector_id"]),
            (&json!(SPACE), &json!(test.api.connector))
        );
        let (id, version) = event.version();
        received.entry(id).or_default().push(version);
    }
    for versions in received.values_mut() {
        assert!(versions.is_sorted(), "{versions:?}");
        versions.dedup();
    }
    for (id, versions) in sent {
        let received = received.get(id).map_or(&[][..], Vec::as_slice);
        let missing: Vec<_> = versions.iter().filter(|version| !received.contains(version)).collect();
        assert!(missing.is_empty(), "{id}: {missing:?} missing in {received:?}");
    }
    let changes: usize = sent.values().map(Vec::len).sum();
    assert!(changes > 200, "only {changes} changes");
}

/// Publishes changes of one run, all of them on one partition; their versions.
async fn publish_run_changes(test: &TestInstallation, count: usize) -> Vec<i64> {
    let runs: Vec<_> = (0..count).map(|_| test.run("sales", "r1", RunState::Running)).collect();
    test.send(&runs).await;
    runs.iter().map(|run| run.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_after_a_restart_or_reset() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    publish_run_changes(&test, 1).await;
    stream.next().await.unwrap();
    let id = stream.last_id.clone();
    drop(api);
    let missed = publish_run_changes(&test, 500).await;
    // A replica begins with the last 600 events.
    let arguments = [HEARTBEAT[0], HEARTBEAT[1], "--stream-history", "1200"];
    let api = ApiProcess::start(&test.settings, &arguments).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", id.as_deref()).await;
    let received: Vec<_> = stream.take(500).await.iter().map(|event| event.version().1).collect();
    assert_eq!(received, missed);
    // Resumed in the middle of the gap, on another replica.
    let mut stream = StreamClient::open(&api.url, VIEWER, "", id.as_deref()).await;
    stream.take(123).await;
    let second = ApiProcess::start(&test.settings, &arguments).await;
    let mut stream = StreamClient::open(&second.url, VIEWER, "", stream.last_id.as_deref()).await;
    assert_eq!(stream.next().await.unwrap().version().1, missed[123]);
    stream.take(376).await;
    stream.expect_heartbeat().await;

    publish_run_changes(&test, 200).await;
    test.api.wait_for("select max(next_offset) >= 701 from projection_offsets").await;
    let third = ApiProcess::start(&test.settings, &arguments).await;
    // Positions ahead of the log, as after Kafka has lost its data.
    let positions = Topic::ALL[..6].iter().flat_map(|topic| [((*topic, 0), 1_000_000), ((*topic, 1), 0)]);
    let space = test.api.id(&format!("select id from spaces where slug = '{SPACE}'")).await;
    let ahead = Positions::from_iter(positions).seal(&keyring("a"), space.into());
    for invalid_id in [id.as_deref(), Some("anything"), Some("AAAA"), Some(&ahead)] {
        let mut stream = StreamClient::open(&third.url, VIEWER, "", invalid_id).await;
        let reset = stream.next().await.unwrap();
        assert_eq!(reset.kind, "reset");
        assert!(reset.data["detail"].is_string());
        stream.expect_heartbeat().await;
        let next = publish_run_changes(&test, 1).await;
        assert_eq!(stream.next().await.unwrap().version().1, next[0]);
    }
}

/// Heartbeats carry new ids while only other spaces have events, so that the id of a stream does not expire.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_advances_the_id_of_an_idle_stream() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    stream.expect_heartbeat().await;
    let first_id = stream.last_id.clone().unwrap();
    let other = test.api.other_connector;
    let of_other_space: Vec<_> =
        (0..300).map(|_| test.run_of(other, "sales", "r1", RunState::Running)).collect();
    let mut busy = StreamClient::open_in(OTHER_SPACE, &api.url, STRANGER, "", None).await;
    test.send(&of_other_space).await;
    // The idle stream is read meanwhile, so that no old heartbeat is left unread.
    let heartbeats = async {
        loop {
            stream.expect_heartbeat().await
        }
    };
    tokio::select! {
        _ = busy.take(of_other_space.len()) => {}
        () = heartbeats => {}
    }
    stream.expect_heartbeat().await;
    stream.expect_heartbeat().await;
    let id = stream.last_id.clone();
    // A replica begins with the last 100 events.
    let arguments = [HEARTBEAT[0], HEARTBEAT[1], "--stream-history", "200"];
    let fresh = ApiProcess::start(&test.settings, &arguments).await;
    let mut stream = StreamClient::open(&fresh.url, VIEWER, "", id.as_deref()).await;
    stream.expect_heartbeat().await;
    let mut stream = StreamClient::open(&fresh.url, VIEWER, "", Some(&first_id)).await;
    assert_eq!(stream.next().await.unwrap().kind, "reset", "the first id has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_streams_every_event() {
    let test = TestInstallation::start().await;
    let (first, second) = (
        ApiProcess::start(&test.settings, &HEARTBEAT).await,
        ApiProcess::start(&test.settings, &HEARTBEAT).await,
    );
    let mut streams = Vec::new();
    for api in [&first, &second, &first, &second] {
        streams.push(StreamClient::open(&api.url, VIEWER, "", None).await);
    }
    let sent = publish_run_changes(&test, 200).await;
    for stream in &mut streams {
        let received: Vec<_> = stream.take(200).await.iter().map(|event| event.version().1).collect();
        assert_eq!(received, sent);
    }
}

/// Events on new partitions before the API reads them are a gap, which a reset event announces.
#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_reset_the_streams() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &HEARTBEAT).await;
    let mut stream = StreamClient::open(&api.url, VIEWER, "", None).await;
    let admin: AdminClient<DefaultClientContext> = test.kafka.client().create().unwrap();
    let topic = test.kafka.topic(Topic::Runs);
    let more = NewPartitions::new(&topic, 5);
    admin.create_partitions(&[more], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    assert_eq!(stream.next().await.unwrap().kind, "reset");
    let mut resumed = StreamClient::open(&api.url, VIEWER, "", stream.last_id.as_deref()).await;
    // The rows stand in for a worker, which notices new partitions only later.
    test.api
        .sql(&format!(
            "insert into projection_offsets select '{topic}', n, 1000 from generate_series(0,
                4) n on conflict do nothing"
        ))
        .await;
    let runs = (0..20).map(|n| test.run("sales", &format!("r{n}"), RunState::Running));
    let records: Vec<_> = runs.map(|run| Record::of(&run).unwrap()).collect();
    Producer::new(&test.kafka).unwrap().send(&records).await.unwrap();
    stream.take(20).await;
    resumed.take(20).await;
}
