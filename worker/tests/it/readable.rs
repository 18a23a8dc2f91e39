//! What a sync has published is in the read model before the sync, or one that waited for it, is shown as
//! succeeded, and before it is compared again.

use std::time::Duration;

use contract::state::{RunState, SyncTrigger};
use testkit::{FakeProvider, SeededSync, eventually};
use tokio::sync::watch;
use tokio::time::sleep;
use worker::app::Worker;
use worker::queue::runner::MAX_HISTORIES;
use worker::sync::{SyncError, SyncPhase, SyncProgress};

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

const BOUND: Duration = Duration::from_secs(120);
/// The time between two polls beside histories.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Longer than what must not happen would take.
const MOMENT: Duration = Duration::from_secs(3);
const SUCCEEDED: &str = "select count(*) from syncs where status = 'succeeded'";

/// A worker whose first sync has succeeded, and the worker that projects.
async fn synced() -> (TestWorker, FakeProvider, Worker) {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    (test, provider, projecting)
}

fn fail_first_run(provider: &FakeProvider) {
    provider.runs.lock().unwrap()[0].status = RunState::Failed;
    *provider.changed.lock().unwrap() = true;
    // No task graph is requested, which would wait for the read model, too.
    *provider.hides_tasks.lock().unwrap() = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_ends_once_the_read_model_contains_what_it_has_published() {
    let (test, provider, projecting) = synced().await;
    projecting.stop().await;
    fail_first_run(&provider);
    let job = test.enqueue_and_claim(false).await;
    let progress = watch::Sender::default();
    let mut phase = progress.subscribe();
    tokio::select! {
        ended = test.run_pass(&provider, &job, &progress) => panic!("not readable yet: {ended:?}"),
        waiting = phase.wait_for(|progress| progress.phase == SyncPhase::Projecting) => {
            drop(waiting.unwrap());
        }
    }
    test.worker.start_projecting();
    test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where status = 'failed'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waited_for_a_poll_succeeds_once_the_poll_is_readable() {
    let test = TestWorker::idle().await;
    let provider = small_provider(&test);
    let job = test.enqueue_and_claim(false).await;
    test.enqueue_sync(false, false).await;
    let progress = watch::Sender::<SyncProgress>::default();
    let mut published = progress.subscribe();
    let is_published = async {
        published.wait_for(|progress| !progress.published.is_empty()).await.unwrap();
        sleep(MOMENT).await;
    };
    tokio::select! {
        ended = test.run_pass(&provider, &job, &progress) => panic!("not readable yet: {ended:?}"),
        () = is_published => {}
    }
    assert_eq!(test.number(SUCCEEDED).await, 0, "nothing is readable yet");
    test.worker.start_projecting();
    test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(test.number(SUCCEEDED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waited_for_a_later_poll_succeeds_once_that_poll_is_readable() {
    let (test, provider, projecting) = synced().await;
    projecting.stop().await;
    provider.allow_histories(1);
    let before = test.published_records();
    let poll_meanwhile = async {
        eventually("the histories are read", BOUND, async || provider.histories_read() > 1).await;
        let waiting = SeededSync { trigger: SyncTrigger::Schedule, ..SeededSync::default() };
        testkit::insert_sync(&test.pool, test.connector, waiting).await;
        fail_first_run(&provider);
        sleep(POLL_INTERVAL + MOMENT).await;
        assert!(test.published_records() > before, "a poll has published the run");
        assert_eq!(test.number(SUCCEEDED).await, 1, "nothing is readable yet");
        test.worker.start_projecting();
        test.wait_for("select bool_and(status = 'succeeded') from syncs where not \"full\"").await;
        assert_eq!(test.number("select count(*) from runs where status = 'failed'").await, 1);
        provider.allow_histories(0);
    };
    let (full, ()) = tokio::join!(test.sync(&provider, true), poll_meanwhile);
    full.unwrap();
}

/// A listing that is compared with a read model without a graph would publish the pipeline without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_compared_once_the_read_model_contains_the_graphs() {
    let (test, provider, projecting) = synced().await;
    projecting.stop().await;
    provider.tasks.lock().unwrap().push("t1");
    provider.allow_histories(1);
    let before = test.published_records();
    let list_meanwhile = async {
        eventually("graphs are published", BOUND, async || test.published_records() == before + 5).await;
        for pipeline in provider.pipelines.lock().unwrap().iter_mut() {
            pipeline.next_run_at = Some(chrono::DateTime::UNIX_EPOCH);
        }
        sleep(POLL_INTERVAL + MOMENT).await;
        test.worker.start_projecting();
        let listed = "select count(*) = 5 from pipelines where next_run_at is not null";
        test.wait_for(listed).await;
        provider.allow_histories(0);
    };
    let (full, ()) = tokio::join!(test.sync(&provider, true), list_meanwhile);
    full.unwrap();
    let with_graph = "select count(*) from pipelines where jsonb_array_length(tasks) = 1";
    assert_eq!(test.number(with_graph).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_beside_histories_pause() {
    let (test, provider, _projecting) = synced().await;
    provider.allow_histories(1);
    provider.changes_since.lock().unwrap().clear();
    let meanwhile = async {
        eventually("the histories are read", BOUND, async || provider.histories_read() > 1).await;
        sleep(POLL_INTERVAL + Duration::from_secs(1)).await;
        // Of runs and of task runs, in the first poll and after the interval.
        let lists = provider.changes_since.lock().unwrap().len();
        provider.allow_histories(0);
        lists
    };
    let (full, lists) = tokio::join!(test.sync(&provider, true), meanwhile);
    full.unwrap();
    assert!(lists <= 4, "{lists} lists of changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_without_progress_fails_the_sync_after_a_minute() {
    let test = TestWorker::idle().await;
    let provider = small_provider(&test);
    let ended = tokio::time::timeout(BOUND, test.sync(&provider, false)).await.expect("the sync ends");
    assert!(matches!(ended, Err(SyncError::ReadModelBehind { .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_read_without_a_permit_after_a_minute() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let permits = test.worker.runner.history_permits.clone();
    let _taken = permits.acquire_many(u32::try_from(MAX_HISTORIES).unwrap()).await.unwrap();
    let ended = tokio::time::timeout(BOUND, test.sync(&provider, false)).await.expect("the sync ends");
    ended.unwrap();
    assert_eq!(provider.histories_read(), 5);
}
