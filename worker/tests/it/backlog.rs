//! A connector whose last records are not in the read model is not polled again, and the full syncs after a
//! rebuild are spread.

use std::time::Duration;

use contract::events::Topic;
use contract::state::RunState;
use testkit::{FakeAirflow, FakeProvider, WorkerProcess};
use tokio::sync::watch;
use worker::queue::runner::MAX_HISTORIES;
use worker::queue::{finish, follow_ups, schedule};
use worker::sync::{SyncError, SyncProgress};

use crate::jobs::insert_trigger;
use crate::test_worker::TestWorker;

const DUE: &str = "update connector_state set next_due_at = now() - interval '1 minute', retry_at = null,
    confirmed_at = null";
const BETWEEN_FULL_SYNCS: &str = "select extract(epoch from max(full_sync_at) - min(full_sync_at))::bigint
    from connector_state";

/// Publishes a pipeline, and fails the sync as one that has waited for the read model in vain. Nothing is
/// projected.
async fn fail_behind(test: &TestWorker) -> FakeProvider {
    let provider = FakeProvider::default();
    provider.pipelines.lock().unwrap().push(test.pipeline("sales", 0));
    provider.runs.lock().unwrap().push(test.run("sales", "r1", 0, RunState::Success));
    let job = test.enqueue_and_claim(false).await;
    let progress = watch::Sender::default();
    let pool = &test.worker.runner.pool;
    let mut published = progress.subscribe();
    tokio::select! {
        outcome = test.run_pass(&provider, &job, &progress) => {
            panic!("the sync ended without the read model: {outcome:?}");
        }
        waiting = published.wait_for(|progress| !progress.published.is_empty()) => drop(waiting.unwrap()),
    }
    let progress = progress.borrow().clone();
    let error = SyncError::ReadModelBehind { behind: 2 };
    finish::fail(pool, job.lease, &job.syncs, &error, &progress).await.unwrap();
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sync_is_scheduled_while_the_read_model_lacks_what_was_published() {
    let test = TestWorker::idle().await;
    fail_behind(&test).await;
    test.execute(DUE).await;
    let pool = &test.worker.runner.pool;
    assert_eq!(schedule::enqueue_due(pool).await.unwrap(), 0);
    test.worker.start_projecting();
    test.wait_until_projected().await;
    // It has stayed due.
    assert_eq!(schedule::enqueue_due(pool).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_stays_behind_delays_syncs_for_an_hour_at_most() {
    let test = TestWorker::idle().await;
    fail_behind(&test).await;
    test.execute(DUE).await;
    test.execute("update connector_state set published_at = now() - interval '61 minutes'").await;
    assert_eq!(schedule::enqueue_due(&test.worker.runner.pool).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_full_syncs_after_a_rebuild_are_spread() {
    let test = TestWorker::start().await;
    let config = serde_json::json!({"base_url": "http://127.0.0.1:1/", "schedule": null});
    for name in ["second", "third"] {
        testkit::create_connector(&test.pool, "test", name, config.clone()).await;
    }
    test.send(&[test.pipeline("sales", 1)]).await;
    test.wait_until_projected().await;
    let output = test.run_command_as_owner(&["rebuild"]).await;
    assert!(output.contains("3 full syncs"), "{output}");
    assert_eq!(test.number(BETWEEN_FULL_SYNCS).await, 20);
    let pool = &test.worker.runner.pool;
    test.execute(
        "update connector_state set full_sync_at = full_sync_at - (
             select min(full_sync_at) - now() + interval '1 second' from connector_state)",
    )
    .await;
    assert_eq!(schedule::enqueue_full_syncs(pool).await.unwrap(), 1);
    assert_eq!(schedule::enqueue_full_syncs(pool).await.unwrap(), 0);
    assert_eq!(test.number("select count(*) from syncs where \"full\" and status = 'queued'").await, 1);
    test.execute("update connector_state set full_sync_at = full_sync_at - interval '1 hour'").await;
    assert_eq!(schedule::enqueue_full_syncs(pool).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_full_syncs_of_many_connectors_after_a_rebuild_begin_within_an_hour() {
    let test = TestWorker::idle().await;
    let config = serde_json::json!({"base_url": "http://127.0.0.1:1/", "schedule": null});
    let connectors: Vec<_> = (1..1_000).map(|number| (format!("c{number}"), config.clone())).collect();
    testkit::create_connectors(&test.pool, "test", &connectors).await;
    let output = test.run_command_as_owner(&["rebuild"]).await;
    assert!(output.contains("1000 full syncs"), "{output}");
    let between = test.number(BETWEEN_FULL_SYNCS).await;
    assert!((3_500..3_600).contains(&between), "{between} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_waits_for_a_permit_and_polls_do_not() {
    let test = TestWorker::start().await;
    let provider = FakeProvider::default();
    provider.pipelines.lock().unwrap().push(test.pipeline("sales", 0));
    provider.runs.lock().unwrap().push(test.run("sales", "r1", 0, RunState::Success));
    let permits = test.worker.runner.history_permits.clone();
    let taken = permits.acquire_many(u32::try_from(MAX_HISTORIES).unwrap()).await.unwrap();
    let job = test.enqueue_and_claim(false).await;
    let progress = watch::Sender::<SyncProgress>::default();
    let mut histories = progress.subscribe();
    let is_waiting = async {
        drop(histories.wait_for(|progress| progress.histories_due == 1).await.unwrap());
        // Longer than the history would take.
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        outcome = test.run_pass(&provider, &job, &progress) => panic!("{outcome:?}"),
        () = is_waiting => {}
    }
    assert_eq!(test.number("select count(*) from pipelines").await, 1, "the poll was complete");
    assert_eq!(provider.histories_read(), 0);
    drop(taken);
    test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(provider.histories_read(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_triggered_run_is_followed_while_the_read_model_lacks_what_was_published() {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    insert_trigger(&test, "sales", "r0").await;
    test.send(&[test.run("sales", "r0", 1, RunState::Queued)]).await;
    test.wait_for("select count(*) = 1 from runs").await;
    projecting.stop().await;
    test.execute("update runs set triggered_by_id = (select id from users)").await;
    let pool = &test.worker.runner.pool;
    test.execute(DUE).await;
    assert_eq!(follow_ups::enqueue_follow_ups(pool).await.unwrap(), 1);
    test.execute("delete from syncs").await;
    fail_behind(&test).await;
    test.execute(DUE).await;
    assert_eq!(follow_ups::enqueue_follow_ups(pool).await.unwrap(), 0);
    test.worker.start_projecting();
    test.wait_until_projected().await;
    assert_eq!(follow_ups::enqueue_follow_ups(pool).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_sync_waits_for_what_was_published_before_it() {
    let test = TestWorker::idle().await;
    let provider = fail_behind(&test).await;
    let pipeline = provider.pipelines.lock().unwrap()[0].id.to_string();
    let job = test.enqueue_and_claim(false).await;
    let project = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        test.worker.start_projecting();
    };
    let (synced, ()) = tokio::join!(test.sync_job(&provider, &job), project);
    synced.unwrap();
    assert_eq!(test.events(Topic::Pipelines, &pipeline).len(), 1, "published once");
}

/// Removes the read model and how far it was projected, as in a backup from before the first sync.
const RESTORE: &str = "delete from task_runs; delete from runs; delete from pipelines;
    update projection_offsets set next_offset = 0, last_offset = null, last_timestamp = null;
    update connector_state set published_offsets = null, next_due_at = now()";

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_read_model_catches_up_before_the_first_sync() {
    let test = TestWorker::idle().await;
    let airflow = FakeAirflow::start(3).await;
    test.set_base_url(&format!("{}/restored", airflow.url)).await;
    let projecting = test.start_another();
    test.run_sync(false).await.unwrap();
    projecting.stop().await;
    let (published, polls) = (test.published_records(), airflow.polls());
    test.execute(RESTORE).await;
    // The projection waits for this lock, and reads do not.
    let mut lock = test.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table projection_offsets in share row exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.wait_for(
        "select count(*) > 0 from pg_locks l join pg_database d on d.oid = l.database
         where not granted and datname = current_database()",
    )
    .await;
    // Some ticks pass.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(airflow.polls(), polls, "polled before the read model has caught up");
    lock.rollback().await.unwrap();
    test.wait_for("select count(*) > 0 from syncs where trigger = 'schedule' and status = 'succeeded'").await;
    assert_eq!(test.published_records(), published);
}
