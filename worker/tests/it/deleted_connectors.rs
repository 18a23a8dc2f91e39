//! The pipelines of a deleted connector are published as inactive, once each.

use contract::events::{PipelineObserved, Topic};
use testkit::WorkerProcess;
use worker::queue::deleted_connectors::deactivate_next;

use crate::test_worker::TestWorker;

/// Sends three pipelines, one of which is inactive already, and deletes their connector once they are stored.
async fn delete_connector(test: &TestWorker) -> [PipelineObserved; 3] {
    let [active, paused, inactive] = ["active", "paused", "inactive"].map(|name| test.pipeline(name, 1));
    let pipelines = [
        active,
        PipelineObserved { is_paused: true, ..paused },
        PipelineObserved { is_active: false, ..inactive },
    ];
    test.send(&pipelines).await;
    test.wait_for("select count(*) = 3 from pipelines").await;
    test.execute("update connectors set deleted_at = now(), credentials_sealed = null").await;
    pipelines
}

const NONE_ACTIVE: &str = "select count(*) = 0 from pipelines where is_active";

#[tokio::test(flavor = "multi_thread")]
async fn the_pipelines_of_a_deleted_connector_are_published_as_inactive() {
    let test = TestWorker::start().await;
    let pipelines = delete_connector(&test).await;
    test.worker.runner.stop.cancel();
    let _worker = WorkerProcess::start(&test.settings, &[]).await;
    test.wait_for(NONE_ACTIVE).await;
    for pipeline in &pipelines {
        let events = test.events(Topic::Pipelines, &pipeline.id.to_string());
        let last: PipelineObserved = serde_json::from_value(events.last().unwrap().1.clone()).unwrap();
        let (version, observed_at) = (last.version, last.observed_at);
        assert_eq!(last, PipelineObserved { is_active: false, version, observed_at, ..pipeline.clone() });
        assert_eq!(events.len(), if pipeline.is_active { 2 } else { 1 }, "{}", pipeline.name);
    }
    let before = test.read_model().await;
    test.run_command_as_owner(&["rebuild"]).await;
    assert_eq!(test.read_model().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_that_was_interrupted_is_completed_and_not_repeated() {
    let test = TestWorker::start().await;
    delete_connector(&test).await;
    let pool = test.worker.runner.pool.clone();
    // A worker that was killed has sent one of them, and holds the lease.
    test.send(&[PipelineObserved { is_active: false, ..test.pipeline("paused", 2) }]).await;
    test.execute("update connector_state set lease_until = now() + interval '1 hour'").await;
    test.wait_for("select count(*) = 1 from pipelines where is_active").await;
    assert_eq!(deactivate_next(&pool, test.producer(), "test").await.unwrap(), 0);
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
    test.worker.runner.stop.cancel();
    test.worker.tasks.close();
    test.worker.tasks.wait().await;
    assert_eq!(deactivate_next(&pool, test.producer(), "test").await.unwrap(), 1);
    // Nothing projects: the read model still has an active pipeline.
    assert_eq!(deactivate_next(&pool, test.producer(), "test").await.unwrap(), 0);
    let projecting = test.start_another();
    test.wait_for(NONE_ACTIVE).await;
    projecting.stop().await;
    assert_eq!(deactivate_next(&pool, test.producer(), "test").await.unwrap(), 0);
    assert_eq!(test.published_records(), 5);
}
