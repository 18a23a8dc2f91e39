//! Task graphs that cannot be read, or are empty.

use contract::state::TaskState;
use tokio::sync::watch;
use worker::queue::runner::Runner;
use worker::sync::sync_connector;

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
async fn a_task_graph_that_fails_rests_longer_after_each_failure() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    *provider.hides_graphs.lock().unwrap() = true;
    // No graph has the tasks of these task runs.
    *provider.changed.lock().unwrap() = true;
    for (seconds, expected) in [(0, 5), (50, 0), (70, 5), (110, 0), (130, 5), (230, 0)] {
        sqlx::query("update pipeline_crawls set graph_tried_at = now() - make_interval(secs => $1)")
            .bind(f64::from(seconds))
            .execute(&test.pool)
            .await
            .unwrap();
        provider.take_graph_requests();
        // A full sync asks for graphs twice, for the unknown tasks and with the histories.
        test.sync(&provider, seconds == 0).await.unwrap();
        assert_eq!(provider.take_graph_requests(), expected, "after {seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_of_five_thousand_changed_tasks_has_no_statement_of_seconds() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for task in 0..5_000 {
        let task: &'static str = format!("task_{task}").leak();
        provider.tasks.lock().unwrap().push(task);
        provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", task, -1, TaskState::Success));
    }
    test.sync(&provider, false).await.unwrap();
    *provider.changed.lock().unwrap() = true;
    let job = test.enqueue_and_claim(false).await;
    let worker = test.open_worker(&test.settings.database_url, &["--statement-timeout", "2"]);
    let Runner { pool, producer, history_permits, .. } = &worker.runner;
    let progress = watch::Sender::default();
    let polled = sync_connector(pool, producer, &job, &provider, &progress, history_permits).await;
    assert_eq!(polled.unwrap().report.task_runs_seen, 5_030);
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
