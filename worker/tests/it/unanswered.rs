//! Requests that are never answered: each costs only what it asked for, and a provider that answers nothing
//! ends the sync soon.

use contract::state::{RunState, TaskState};
use provider::{Provider, ProviderError};
use testkit::FakeProvider;
use worker::sync::SyncError;

use crate::histories::END_PAUSES;
use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

const WITNESS: &str = "select count(*) from runs where external_id = 'witness'";
const RUNNING: &str = "select count(*) from runs where status = 'running' and deleted_at is null";
const MOVED: &str = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'
    and failures = 0";

/// A run of another pipeline, which has changed.
fn add_witness(test: &TestWorker, provider: &FakeProvider) {
    provider.runs.lock().unwrap().push(test.run("d", "witness", 0, RunState::Success));
    *provider.changed.lock().unwrap() = true;
}

/// Adds runs that are unfinished in the read model, and finished at the provider.
async fn finish_runs(test: &TestWorker, provider: &FakeProvider, names: &[String]) {
    for name in names {
        provider.runs.lock().unwrap().push(test.run("c", name, 0, RunState::Running));
    }
    test.sync(provider, false).await.unwrap();
    for run in provider.runs.lock().unwrap().iter_mut() {
        run.status = RunState::Success;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_poll_that_is_never_answered_costs_only_itself() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    finish_runs(&test, &provider, &["live".to_owned()]).await;
    for pipeline in &mut provider.pipelines.lock().unwrap()[..3] {
        pipeline.description = Some("changed".to_owned());
    }
    for request in ["tasks a", "time zone b", "run live", "pipeline e"] {
        provider.leave_unanswered(request);
    }
    provider.pipelines.lock().unwrap().retain(|pipeline| pipeline.external_id != "e");
    test.execute("update connector_state set cursor_at = now() - interval '1 hour'").await;
    // A pipeline is requested by its id when it was missing twice.
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_unanswered(), 3);
    assert_eq!(test.number(RUNNING).await, 1);
    add_witness(&test, &provider);
    test.sync(&provider, false).await.unwrap();
    assert_eq!((test.number(WITNESS).await, test.number(MOVED).await), (1, 1));
    let changed = "select count(*) from pipelines where description = 'changed' and is_active";
    assert_eq!(test.number(changed).await, 3);
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 5);
    provider.answer_all();
    test.execute(END_PAUSES).await;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 4);
    assert_eq!(test.number(RUNNING).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_never_answered_costs_only_itself_and_backs_off() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for request in ["history a", "task runs b", "tasks c"] {
        provider.leave_unanswered(request);
    }
    let report = test.sync(&provider, false).await.unwrap().report;
    let mut named: Vec<_> = report.unreadable.iter().map(|entry| entry.id.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["a", "b", "c"], "{report:?}");
    let read = "select count(*) from pipeline_crawls where crawled_at is not null";
    assert_eq!(test.number(read).await, 3, "those of which only the graph is missing are read");
    let backs_off = "select count(*) from pipeline_crawls where failures = 1 or graph_failures = 1";
    assert_eq!(test.number(backs_off).await, 3);
    provider.take_unanswered();
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_unanswered(), 0, "they are not tried again at once");
    provider.answer_all();
    test.execute(END_PAUSES).await;
    assert_eq!(test.sync(&provider, false).await.unwrap().report.unreadable_count, 0);
    assert_eq!(test.number("select count(*) from task_runs").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_many_runs_without_an_answer_do_not_add_up() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let names: Vec<_> = (0..50).map(|run| format!("live{run}")).collect();
    finish_runs(&test, &provider, &names).await;
    names.iter().for_each(|name| provider.leave_unanswered(&format!("run {name}")));
    test.execute("update connector_state set cursor_at = now() - interval '1 hour'").await;
    let report = test.sync(&provider, false).await.unwrap().report;
    assert_eq!(report.unreadable_count, 50, "each of them is named");
    let unanswered = provider.take_unanswered();
    assert!(unanswered <= 5 + 8, "{unanswered} requests");
    assert_eq!(test.number(MOVED).await, 1);
    provider.answer_all();
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(RUNNING).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_task_runs_without_an_answer_do_not_add_up() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for number in 0..40 {
        let name = format!("p{number:02}");
        provider.pipelines.lock().unwrap().push(test.pipeline(&name, 0));
        provider.runs.lock().unwrap().push(test.run(&name, "r1", 0, RunState::Success));
        provider.task_runs.lock().unwrap().push(test.task_run(&name, "r1", "t", -1, TaskState::Success));
        provider.leave_unanswered(&format!("task runs {name}"));
    }
    test.sync(&provider, false).await.unwrap();
    let unanswered = provider.take_unanswered();
    assert!(unanswered <= 9 + 8, "{unanswered} lists were requested");
    assert_eq!(test.number("select count(*) from runs").await, 55);
}

/// From a time on, as when the host or the database behind it stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_nothing_any_more_ends_the_sync_soon() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let names: Vec<_> = (0..50).map(|run| format!("live{run}")).collect();
    finish_runs(&test, &provider, &names).await;
    *provider.changed.lock().unwrap() = true;
    *provider.hides_runs.lock().unwrap() = true;
    for answered in 0..12 {
        provider.stop_answering_from(answered + 1);
        let error = test.sync(&provider, true).await.unwrap_err();
        assert!(matches!(error, SyncError::Provider(ProviderError::Unreachable { .. })), "{error}");
        let unanswered = provider.requests() - answered;
        // Eight at once, and the clock after each of them.
        assert!(unanswered <= 16, "{unanswered} requests were not answered after {answered} that were");
    }
}
