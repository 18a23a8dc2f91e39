//! Lists that are refused or do not answer, and runs that fail: what does not depend on them is read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::state::{EntityKind, RunState, TaskState};
use provider::ProviderError;
use testkit::FakeProvider;
use worker::sync::{SyncBudget, SyncError, SyncJob};

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

fn forbidden() -> ProviderError {
    ProviderError::Forbidden { status: 403, message: "Forbidden".to_owned(), subject: None }
}

fn unreachable() -> ProviderError {
    let (host, reason) = ("test".to_owned(), "no response in time".to_owned());
    ProviderError::Unreachable { host, reason, sent: true, subject: None }
}

/// A new pipeline, run and task run, and a list of changes that has them.
fn add_changes(test: &TestWorker, provider: &FakeProvider) {
    provider.pipelines.lock().unwrap().push(test.pipeline("new", 0));
    provider.runs.lock().unwrap().push(test.run("a", "new", 0, RunState::Success));
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "new", -1, TaskState::Success));
    *provider.changed.lock().unwrap() = true;
}

const UNREAD_RUNS: &str = "The changed runs and unfinished runs could not be read; all else was. ";
const NEW_PIPELINES: &str = "select count(*) from pipelines where external_id = 'new'";
const NEW_RUNS: &str = "select count(*) from runs where external_id = 'new'";
const NEW_TASK_RUNS: &str = "select count(*) from task_runs where task_id = 'new'";
const RUNNING: &str = "select count(*) from runs where status = 'running' and deleted_at is null";

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_task_runs_that_fails_stops_neither_pipelines_nor_runs() {
    for error in [forbidden(), unreachable()] {
        let test = TestWorker::start().await;
        let provider = small_provider(&test);
        test.sync(&provider, false).await.unwrap();
        add_changes(&test, &provider);
        *provider.failing_task_runs.lock().unwrap() = Some(error.clone());
        let text = test.sync(&provider, false).await.unwrap_err().to_string();
        assert_eq!(text, format!("The changed task runs could not be read; all else was. {error}"));
        assert_eq!((test.number(NEW_PIPELINES).await, test.number(NEW_RUNS).await), (1, 1));
        *provider.failing_task_runs.lock().unwrap() = None;
        test.sync(&provider, false).await.unwrap();
        assert_eq!(test.number(NEW_TASK_RUNS).await, 1, "the cursor did not pass what was not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_list_of_runs_stops_neither_pipelines_nor_task_runs() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    add_changes(&test, &provider);
    *provider.failing_runs.lock().unwrap() = Some(forbidden());
    let error = test.sync(&provider, false).await.unwrap_err().to_string();
    assert!(error.starts_with(UNREAD_RUNS), "{error}");
    assert_eq!((test.number(NEW_PIPELINES).await, test.number(NEW_TASK_RUNS).await), (1, 1));
    *provider.failing_runs.lock().unwrap() = None;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(NEW_RUNS).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_pipelines_that_fails_stops_no_run_and_deactivates_nothing() {
    for error in [forbidden(), unreachable()] {
        let test = TestWorker::start().await;
        let provider = small_provider(&test);
        test.sync(&provider, false).await.unwrap();
        let active = "select count(*) from pipelines where is_active";
        let (active_before, confirmed_before) = (test.number(active).await, confirmed_at(&test).await);
        add_changes(&test, &provider);
        *provider.failing_pipelines.lock().unwrap() = Some(error.clone());
        for _ in 0..3 {
            let text = test.sync(&provider, false).await.unwrap_err().to_string();
            assert_eq!(text, format!("The pipelines could not be read; all else was. {error}"));
        }
        assert_eq!((test.number(NEW_RUNS).await, test.number(NEW_TASK_RUNS).await), (1, 1));
        assert_eq!(test.number(active).await, active_before);
        assert_eq!(confirmed_at(&test).await, confirmed_before, "the pipelines may have changed");
        *provider.failing_pipelines.lock().unwrap() = None;
        test.sync(&provider, false).await.unwrap();
        assert_eq!(test.number(NEW_PIPELINES).await, 1);
        assert!(confirmed_at(&test).await > confirmed_before);
    }
}

async fn confirmed_at(test: &TestWorker) -> DateTime<Utc> {
    let confirmed = "select confirmed_at from connector_state";
    sqlx::query_scalar(confirmed).fetch_one(&test.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_without_task_runs_reads_all_runs() {
    for error in [forbidden(), unreachable()] {
        let test = TestWorker::start().await;
        let provider = small_provider(&test);
        for name in ["f", "g", "h", "i", "j", "k"] {
            provider.pipelines.lock().unwrap().push(test.pipeline(name, 0));
            provider.runs.lock().unwrap().push(test.run(name, "r1", 0, RunState::Success));
        }
        *provider.failing_task_runs.lock().unwrap() = Some(error);
        let report = test.sync(&provider, false).await.unwrap().report;
        assert_eq!(report.unreadable_count, 11);
        assert_eq!(test.number("select count(*) from runs").await, 21);
        *provider.failing_task_runs.lock().unwrap() = None;
        test.sync(&provider, true).await.unwrap();
        assert_eq!(test.number("select count(*) from task_runs").await, 30);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_is_named_and_delays_no_other() {
    // The server fails, or has no path to the run.
    for error in [None, Some(ProviderError::Unaddressable { id: "odd".to_owned() })] {
        let test = TestWorker::start().await;
        let provider = small_provider(&test);
        for name in ["odd", "even", "gone"] {
            provider.runs.lock().unwrap().push(test.run("a", name, 0, RunState::Running));
        }
        test.sync(&provider, false).await.unwrap();
        provider.runs.lock().unwrap().retain(|run| run.external_id != "gone");
        provider.runs.lock().unwrap().iter_mut().for_each(|run| run.status = RunState::Success);
        provider.failing_single_runs.lock().unwrap().insert("odd".to_owned());
        *provider.single_run_error.lock().unwrap() = error;
        let report = test.sync(&provider, false).await.unwrap().report;
        let [entry] = &report.unreadable[..] else { panic!("{report:?}") };
        assert_eq!((entry.what, entry.id.as_str()), (EntityKind::Run, "a/odd"));
        assert_eq!(test.number(RUNNING).await, 1);
        let deleted = "select count(*) from runs where deleted_at is not null and external_id = 'gone'";
        assert_eq!(test.number(deleted).await, 1, "another run is deleted all the same");
        provider.failing_single_runs.lock().unwrap().clear();
        test.sync(&provider, false).await.unwrap();
        assert_eq!(test.number(RUNNING).await, 0);
    }
}

/// Changed and unfinished runs are two lists of one endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_never_answered_stop_nothing_else() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    add_changes(&test, &provider);
    provider.pipelines.lock().unwrap().retain(|pipeline| pipeline.external_id != "e");
    *provider.failing_runs.lock().unwrap() = Some(unreachable());
    for _ in 0..2 {
        let error = test.sync(&provider, false).await.unwrap_err();
        assert!(error.to_string().starts_with(UNREAD_RUNS), "{error}");
    }
    assert_eq!((test.number(NEW_PIPELINES).await, test.number(NEW_TASK_RUNS).await), (1, 1));
    let gone = "select count(*) from pipelines where external_id = 'e' and not is_active";
    assert_eq!(test.number(gone).await, 1);
    *provider.failing_task_runs.lock().unwrap() = Some(unreachable());
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(matches!(error, SyncError::UnreadList { .. }), "{error}");
    for list in ["changed runs", "unfinished runs", "changed task runs"] {
        assert!(error.to_string().contains(list), "{error}");
    }
}

const CURSORS: &str = "select count(*) from connector_state where cursor_at < now() - interval '7 hours'";
const CONFIRMED: &str =
    "select count(*) from connector_state where confirmed_at > now() - interval '1 minute' and failures = 0";
const BEHIND: &str = "update connector_state set cursor_at = now() - interval '8 hours',
    confirmed_at = now() - interval '8 hours'";
const ONE_CURSOR: &str = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'
    and runs_cursor_at is null and task_runs_cursor_at is null";

/// How long ago the changes begin that the provider was asked for, in minutes, in order of the requests.
fn take_changes_since(provider: &FakeProvider) -> Vec<i64> {
    let since = std::mem::take(&mut *provider.changes_since.lock().unwrap());
    since.into_iter().map(|since| (Utc::now() - since).num_minutes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_refusal_of_task_runs_keeps_all_else_fresh_and_repeats_no_work() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    test.execute(BEHIND).await;
    add_changes(&test, &provider);
    *provider.failing_task_runs.lock().unwrap() = Some(forbidden());
    for windows in [16, 1, 1] {
        take_changes_since(&provider);
        test.sync(&provider, false).await.unwrap_err();
        let since = take_changes_since(&provider);
        assert_eq!(since.len(), windows, "the changed runs since {since:?} minutes ago");
        assert_eq!((test.number(CONFIRMED).await, test.number(CURSORS).await), (1, 1));
    }
    *provider.failing_task_runs.lock().unwrap() = None;
    test.sync(&provider, false).await.unwrap();
    let since = take_changes_since(&provider);
    assert_eq!(since.len(), 17, "{since:?}");
    assert!(since.iter().any(|minutes| (480..500).contains(minutes)), "{since:?}");
    assert_eq!((test.number(NEW_TASK_RUNS).await, test.number(ONE_CURSOR).await), (1, 1));
}

/// It is not known then whether a run is late.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_runs_confirms_no_run_and_does_not_repeat_the_task_runs() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    test.execute(BEHIND).await;
    add_changes(&test, &provider);
    *provider.failing_runs.lock().unwrap() = Some(forbidden());
    for windows in [16, 1] {
        take_changes_since(&provider);
        test.sync(&provider, false).await.unwrap_err();
        assert_eq!(take_changes_since(&provider).len(), windows);
        assert_eq!((test.number(CONFIRMED).await, test.number(CURSORS).await), (0, 1));
    }
    *provider.failing_runs.lock().unwrap() = None;
    test.sync(&provider, false).await.unwrap();
    assert_eq!((test.number(NEW_RUNS).await, test.number(ONE_CURSOR).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_has_used_up_its_budget_ends_with_a_reason_and_the_next_one_goes_on() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let unlimited = SyncBudget::default();
    for (budget, expected) in [
        (SyncBudget { requests: 3, ..unlimited }, "3 requests"),
        (SyncBudget { rows: 10, ..unlimited }, "10 rows"),
        (SyncBudget { duration: Duration::ZERO, ..unlimited }, "0 minutes"),
    ] {
        let job = SyncJob { budget, ..test.enqueue_and_claim(false).await };
        let error = test.sync_job(&provider, &job).await.unwrap_err();
        assert!(error.to_string().contains(&format!("ended after {expected}")), "{error}");
        test.execute("update connector_state set retry_at = null").await;
    }
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from task_runs").await, 30);
}
