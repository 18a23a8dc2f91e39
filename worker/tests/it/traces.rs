//! The trace of a sync is propagated from the header of its request to every event that it publishes.

use contract::events::{Record, SyncRequested, Topic};
use contract::state::RunState;
use contract::trace::{TRACEPARENT, TraceContext};
use platform::trace;
use testkit::FakeProvider;
use tokio::sync::watch;
use uuid::Uuid;

use crate::test_worker::TestWorker;

fn request(test: &TestWorker) -> SyncRequested {
    SyncRequested {
        id: Uuid::now_v7().into(),
        connector_id: test.connector,
        full: false,
        accept_mass_deletion: false,
        space: "test".to_owned(),
        observed_at: chrono::Utc::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_request_is_in_the_events_of_its_sync() {
    let test = TestWorker::start().await;
    test.worker.start_requests();
    let trace = TraceContext::child(None);
    let request = request(&test);
    test.producer().send(&[Record::of(&request).unwrap().with_traceparent(Some(trace))]).await.unwrap();
    test.wait_for("select count(*) = 1 from syncs where accepted_at is not null").await;

    let job = test.claim().await;
    let child = TraceContext::child(job.trace);
    assert_eq!(child.trace_id(), trace.trace_id());
    let provider = FakeProvider::default();
    provider.pipelines.lock().unwrap().push(test.pipeline("sales", 0));
    provider.runs.lock().unwrap().push(test.run("sales", "r1", 0, RunState::Success));
    let progress = watch::Sender::default();
    let sync = test.run_pass(&provider, &job, &progress);
    trace::scope(Some(child), sync).await.unwrap();
    // Events of the sync itself are published by the relay.
    test.wait_for("select count(*) = 0 from outbox").await;

    let run = test.run("sales", "r1", 0, RunState::Success).id.to_string();
    for (topic, key) in [(Topic::Runs, run), (Topic::Syncs, request.id.to_string())] {
        let events = test.events(topic, &key);
        assert!(!events.is_empty(), "{topic}");
        for (headers, _) in events {
            assert_eq!(
                headers[TRACEPARENT].parse::<TraceContext>().map(TraceContext::trace_id),
                Ok(trace.trace_id()),
                "{topic}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_valid_trace_gets_a_new_one() {
    let test = TestWorker::start().await;
    test.worker.start_requests();
    let mut malformed = Record::of(&request(&test)).unwrap();
    malformed.headers.push((TRACEPARENT.to_owned(), "00-once upon a time-01".to_owned()));
    test.producer().send(&[Record::of(&request(&test)).unwrap(), malformed]).await.unwrap();
    test.wait_for("select count(distinct traceparent) = 2 from syncs").await;
    assert_eq!(test.number("select count(*) from dead_letters").await, 0);
    assert!(test.claim().await.trace.is_some());
}
