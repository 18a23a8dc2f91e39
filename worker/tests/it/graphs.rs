//! Task graphs that cannot be read, or are empty.

use contract::state::TaskState;

use crate::histories::END_PAUSES;
use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

const GRAPHS: &str = "select count(*) from pipelines where jsonb_array_length(tasks) = 2";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_task_graph_does_not_replace_a_known_one() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    provider.tasks.lock().unwrap().clear();
    let report = test.sync(&provider, true).await.unwrap().report;
    assert_eq!(test.number(GRAPHS).await, 5);
    assert_eq!(report.unreadable_count, 5);
    assert!(report.unreadable[0].reason.starts_with("its task graph is empty now"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_graph_that_fails_is_named_and_requested_with_growing_pauses() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    *provider.hides_graphs.lock().unwrap() = true;
    for pipeline in &mut *provider.pipelines.lock().unwrap() {
        pipeline.description = Some("another definition".to_owned());
        let unknown = test.task_run(&pipeline.external_id, "r1", "t3", -1, TaskState::Success);
        provider.task_runs.lock().unwrap().push(unknown);
    }
    *provider.changed.lock().unwrap() = true;
    provider.take_graph_requests();
    let report = test.sync(&provider, true).await.unwrap().report;
    assert_eq!(
        provider.take_graph_requests(),
        5,
        "once for its definition, the unknown task and its history"
    );
    assert_eq!(report.unreadable_count, 5);
    let reason = &report.unreadable[0].reason;
    assert!(
        reason.starts_with("its task graph cannot be read: The provider at test answered 500"),
        "{reason}"
    );
    assert_eq!(
        test.number("select count(*) from pipelines where description = 'another definition'").await,
        5
    );
    assert_eq!(test.number("select count(*) from pipeline_crawls where failures > 0").await, 0);
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_graph_requests(), 0, "the graphs rest");
    test.execute(END_PAUSES).await;
    *provider.hides_graphs.lock().unwrap() = false;
    provider.tasks.lock().unwrap().push("t3");
    test.sync(&provider, false).await.unwrap();
    let whole = "select count(*) from pipelines where jsonb_array_length(tasks) = 3";
    assert_eq!(test.number(whole).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_zone_of_a_schedule_is_read_with_the_graph_and_kept() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for pipeline in provider.pipelines.lock().unwrap().iter_mut().take(2) {
        pipeline.schedule = None;
    }
    *provider.time_zone.lock().unwrap() = Some("Europe/Berlin");
    test.sync(&provider, false).await.unwrap();
    let berlin = "select count(*) from pipelines where provider_metadata->>'timezone' = 'Europe/Berlin'";
    assert_eq!(test.number(berlin).await, 3, "of those with a schedule");
    // The list does not have it, and that is no change.
    *provider.time_zone.lock().unwrap() = Some("Europe/Madrid");
    let report = test.sync(&provider, false).await.unwrap().report;
    assert_eq!(report.events_published, 0);
    for pipeline in &mut *provider.pipelines.lock().unwrap() {
        pipeline.description = Some("another definition".to_owned());
    }
    test.sync(&provider, false).await.unwrap();
    let madrid = "select count(*) from pipelines where provider_metadata->>'timezone' = 'Europe/Madrid'";
    assert_eq!(test.number(madrid).await, 3);
}
