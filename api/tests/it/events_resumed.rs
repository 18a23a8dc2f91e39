//! Streams that are cut off and come back: nothing is missed, or it is said.

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
use crate::event_stream::{Event, EventStream};
use crate::installation::TestInstallation;
use crate::seed::{STRANGER, VIEWER};

const LIVELY: [&str; 2] = ["--stream-heartbeat", "1"];
/// Fewer than what a replica keeps for those who come back, however slow the machine is.
const MOST_CHANGES: usize = 6_000;

const RUNS: usize = 8;

/// How many runs and task runs have been seen to succeed.
fn finished(seen: &[Event]) -> usize {
    let succeeded = seen.iter().filter(|event| event.data["status"] == "success");
    succeeded.map(|event| event.version().0).collect::<BTreeSet<_>>().len()
}

/// Changes runs of both spaces until told to end, when all of ours succeed; the versions that were sent of each of ours.
async fn keep_changing(
    test: &TestInstallation,
    mut end: watch::Receiver<bool>,
) -> BTreeMap<String, Vec<i64>> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut sent = BTreeMap::<String, Vec<i64>>::new();
    let mut is_last = false;
    let mut changes = 0;
    loop {
        let mut batch = Vec::new();
        for n in 0..RUNS {
            let name = format!("r{n}");
            let of_ours = test.run("sales", &name, RunState::Running);
            let status = if is_last { RunState::Success } else { RunState::Running };
            if is_last || rng.random_bool(0.4) {
                sent.entry(of_ours.id.to_string()).or_default().push(of_ours.version);
                batch.push(RunObserved { status, ..of_ours });
            }
            if rng.random_bool(0.3) {
                batch.push(test.run_of(test.api.other_connector, "sales", &name, RunState::Failed));
            }
        }
        changes += batch.len();
        test.send(&batch).await;
        if is_last || rng.random_bool(0.3) {
            let status = if is_last { TaskState::Success } else { TaskState::Running };
            let task_run = test.task_run("sales", "r0", "load", status);
            sent.entry(task_run.id.to_string()).or_default().push(task_run.version);
            test.send(&[task_run]).await;
        }
        if is_last {
            return sent;
        }
        let pause = Duration::from_millis(if changes < MOST_CHANGES { 15 } else { 60_000 });
        let _ = tokio::time::timeout(pause, end.wait_for(|end| *end)).await;
        is_last = *end.borrow();
    }
}

/// A client that is cut off again and again, each time finds one of the replicas, and goes on from its last id.
struct Restless {
    rng: StdRng,
    last_id: Option<String>,
    seen: Vec<Event>,
}

impl Restless {
    async fn open(&mut self, replicas: &[ApiProcess]) -> EventStream {
        loop {
            let replica = &replicas[self.rng.random_range(0..replicas.len())];
            match EventStream::try_open(SPACE, &replica.url, VIEWER, "", self.last_id.as_deref()).await {
                Ok(stream) => return stream,
                Err((code, body)) => assert!(code == 0 || code == 503, "{code} {body}"),
            }
        }
    }

    /// Reads until `is_enough`, or the stream breaks.
    async fn read(&mut self, stream: &mut EventStream, is_enough: impl Fn(&[Event], usize) -> bool) {
        let before = self.seen.len();
        while !is_enough(&self.seen, self.seen.len() - before) {
            let Some(event) = stream.next().await else { break };
            assert_ne!(event.kind, "reset", "{}", event.data);
            if event.kind != "end" {
                self.seen.push(event);
            }
        }
        self.last_id = stream.last_id.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cut_off_twenty_times_sees_every_change_in_order_and_none_of_another_space() {
    let test = TestInstallation::start().await;
    let mut replicas = vec![
        ApiProcess::start(&test.settings, &LIVELY).await,
        ApiProcess::start(&test.settings, &LIVELY).await,
    ];
    let mut client = Restless { rng: StdRng::seed_from_u64(11), last_id: None, seen: Vec::new() };
    let mut stream = client.open(&replicas).await;
    let (end, ended) = watch::channel(false);
    let changing = keep_changing(&test, ended);
    let listening = async {
        for cut in 0..20 {
            let many = client.rng.random_range(0..30);
            client.read(&mut stream, |_, read| read >= many).await;
            drop(stream);
            if cut % 4 == 1 {
                let replica = replicas.remove(0);
                match cut % 8 {
                    1 => drop(replica),
                    _ => _ = replica.stop().await,
                }
                replicas.push(ApiProcess::start(&test.settings, &LIVELY).await);
            }
            tokio::time::sleep(Duration::from_millis(client.rng.random_range(0..400))).await;
            stream = client.open(&replicas).await;
        }
        end.send_replace(true);
        while finished(&client.seen) < RUNS + 1 {
            client.read(&mut stream, |seen, _| finished(seen) > RUNS).await;
            stream = client.open(&replicas).await;
        }
        client.seen
    };
    let (sent, seen) = tokio::join!(changing, listening);

    let mut told = BTreeMap::<String, Vec<i64>>::new();
    for event in &seen {
        assert_eq!(
            (&event.data["space"], &event.data["connector_id"]),
            (&json!(SPACE), &json!(test.api.connector))
        );
        let (id, version) = event.version();
        told.entry(id).or_default().push(version);
    }
    for versions in told.values_mut() {
        assert!(versions.is_sorted(), "{versions:?}");
        versions.dedup();
    }
    for (id, versions) in &sent {
        let told = told.get(id).map_or(&[][..], Vec::as_slice);
        let missing: Vec<_> = versions.iter().filter(|version| !told.contains(version)).collect();
        assert!(missing.is_empty(), "{id}: {missing:?} missing in {told:?}");
    }
    let changes: usize = sent.values().map(Vec::len).sum();
    assert!(changes > 200, "{changes} changes are too few to say anything");
}

/// So many changes of one run, and so on one partition.
async fn change(test: &TestInstallation, many: usize) -> Vec<i64> {
    let runs: Vec<_> = (0..many).map(|_| test.run("sales", "r1", RunState::Running)).collect();
    test.send(&runs).await;
    runs.iter().map(|run| run.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_after_a_restart_or_else_it_is_said() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    change(&test, 1).await;
    stream.next().await.unwrap();
    let id = stream.last_id.clone();
    drop(api);
    let missed = change(&test, 500).await;
    // A past of 600 for each of the eight partitions.
    let lively = [LIVELY[0], LIVELY[1], "--stream-history", "9600"];
    let api = ApiProcess::start(&test.settings, &lively).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", id.as_deref()).await;
    let told: Vec<_> = stream.take(500).await.iter().map(|event| event.version().1).collect();
    assert_eq!(told, missed);
    // From the middle of it, on another replica.
    let mut stream = EventStream::open(&api.url, VIEWER, "", id.as_deref()).await;
    stream.take(123).await;
    let second = ApiProcess::start(&test.settings, &lively).await;
    let mut stream = EventStream::open(&second.url, VIEWER, "", stream.last_id.as_deref()).await;
    assert_eq!(stream.next().await.unwrap().version().1, missed[123]);
    stream.take(376).await;
    stream.silence().await;

    change(&test, 200).await;
    test.api.wait_for("select max(next_offset) >= 701 from projection_offsets").await;
    let third = ApiProcess::start(&test.settings, &lively).await;
    // As after Kafka was made anew, with nothing in it.
    let places = Topic::ALL[..4].iter().flat_map(|topic| [((*topic, 0), 1_000_000), ((*topic, 1), 0)]);
    let space = test.api.id(&format!("select id from spaces where slug = '{SPACE}'")).await;
    let ahead = Positions::from_iter(places).seal(&keyring("a"), space.into());
    for unusable in [id.as_deref(), Some("anything"), Some("AAAA"), Some(&ahead)] {
        let mut stream = EventStream::open(&third.url, VIEWER, "", unusable).await;
        let reset = stream.next().await.unwrap();
        assert_eq!(reset.kind, "reset");
        assert!(reset.data["detail"].is_string());
        stream.silence().await;
        let next = change(&test, 1).await;
        assert_eq!(stream.next().await.unwrap().version().1, next[0]);
    }
}

/// Other spaces may be as busy as they like: a heartbeat takes a silent client along.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_moves_the_id_of_a_silent_stream() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    stream.silence().await;
    let at_first = stream.last_id.clone().unwrap();
    let other = test.api.other_connector;
    let theirs: Vec<_> = (0..300).map(|_| test.run_of(other, "sales", "r1", RunState::Running)).collect();
    let mut busy = EventStream::open_in(OTHER_SPACE, &api.url, STRANGER, "", None).await;
    test.send(&theirs).await;
    // Read meanwhile, so that what is read afterwards was said afterwards.
    let silent = async {
        loop {
            stream.silence().await
        }
    };
    tokio::select! {
        _ = busy.take(theirs.len()) => {}
        () = silent => {}
    }
    stream.silence().await;
    stream.silence().await;
    let id = stream.last_id.clone();
    let lively = [LIVELY[0], LIVELY[1], "--stream-history", "1600"];
    let fresh = ApiProcess::start(&test.settings, &lively).await;
    let mut stream = EventStream::open(&fresh.url, VIEWER, "", id.as_deref()).await;
    stream.silence().await;
    let mut stream = EventStream::open(&fresh.url, VIEWER, "", Some(&at_first)).await;
    assert_eq!(stream.next().await.unwrap().kind, "reset", "the first id is too old by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_tells_everything() {
    let test = TestInstallation::start().await;
    let (first, second) =
        (ApiProcess::start(&test.settings, &LIVELY).await, ApiProcess::start(&test.settings, &LIVELY).await);
    let mut streams = Vec::new();
    for api in [&first, &second, &first, &second] {
        streams.push(EventStream::open(&api.url, VIEWER, "", None).await);
    }
    let sent = change(&test, 200).await;
    for stream in &mut streams {
        let told: Vec<_> = stream.take(200).await.iter().map(|event| event.version().1).collect();
        assert_eq!(told, sent);
    }
}

/// What is on new partitions before they are noticed would be a gap that nobody sees.
#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_are_noticed_and_said() {
    let test = TestInstallation::start().await;
    let api = ApiProcess::start(&test.settings, &LIVELY).await;
    let mut stream = EventStream::open(&api.url, VIEWER, "", None).await;
    let admin: AdminClient<DefaultClientContext> = test.kafka.client().create().unwrap();
    let topic = test.kafka.topic(Topic::Runs);
    let more = NewPartitions::new(&topic, 5);
    admin.create_partitions(&[more], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    assert_eq!(stream.next().await.unwrap().kind, "reset");
    let mut resumed = EventStream::open(&api.url, VIEWER, "", stream.last_id.as_deref()).await;
    // A worker finds them in its own time.
    test
        .api
        .sql(&format!(
            "insert into projection_offsets select '{topic}', n, 1000 from generate_series(0, 4) n on conflict do nothing"
        ))
        .await;
    let runs = (0..20).map(|n| test.run("sales", &format!("r{n}"), RunState::Running));
    let records: Vec<_> = runs.map(|run| Record::of(&run).unwrap()).collect();
    Producer::new(&test.kafka).unwrap().send(&records).await.unwrap();
    stream.take(20).await;
    resumed.take(20).await;
}
