//! Sealing keys are rotated under running workers, step by step as `deploy/README.md` describes it, and no
//! sync fails.

use contract::ids::SyncId;
use local::AirflowServer;
use testkit::{FakeAirflow, ProgramSettings, WorkerProcess, sealing_keys};

use crate::test_worker::TestWorker;

/// Enqueues a sync and waits until a running worker has finished it.
async fn assert_syncs(test: &TestWorker) {
    let sync = test.enqueue_sync(false, false).await;
    test.wait_for(&format!("select finished_at is not null from syncs where id = '{sync}'")).await;
    assert_eq!(error_of(test, sync).await, None);
}

async fn error_of(test: &TestWorker, sync: SyncId) -> Option<String> {
    let error = sqlx::query_scalar("select error from syncs where id = $1").bind(sync);
    error.fetch_one(&test.pool).await.unwrap()
}

/// Starts a worker with these sealing keys.
async fn start_worker(test: &TestWorker, letters: &str) -> WorkerProcess {
    let settings = ProgramSettings { sealing_keys: sealing_keys(letters), ..test.settings.clone() };
    WorkerProcess::start(&settings, &[]).await
}

async fn reseal(test: &TestWorker, letters: &str) {
    let settings = ProgramSettings { sealing_keys: sealing_keys(letters), ..test.owner_settings() };
    testkit::stdout_of(settings.api(&["credentials", "reseal"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_keys_are_rotated_under_running_workers_without_a_failed_sync() {
    let test = TestWorker::idle().await;
    let fake = FakeAirflow::start(0).await;
    test.connect(&AirflowServer::at(fake.url, "svc".to_owned(), "right".to_owned())).await;
    let old = start_worker(&test, "a").await;
    assert_syncs(&test).await;
    // Each step starts the next worker before it stops the one before.
    let opens_both = start_worker(&test, "ab").await;
    drop(old);
    assert_syncs(&test).await;
    let seals_with_new = start_worker(&test, "ba").await;
    drop(opens_both);
    assert_syncs(&test).await;
    reseal(&test, "ba").await;
    assert_syncs(&test).await;
    let new = start_worker(&test, "b").await;
    drop(seals_with_new);
    assert_syncs(&test).await;
    drop(new);
    // The old key opens nothing any more.
    let _old = start_worker(&test, "a").await;
    let failed = test.enqueue_sync(false, false).await;
    test.wait_for("select count(*) = 1 from syncs where status = 'failed'").await;
    let error = error_of(&test, failed).await.unwrap();
    assert!(error.contains("open with none of the sealing keys"), "{error}");
}
