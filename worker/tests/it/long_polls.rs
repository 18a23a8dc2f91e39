//! Polls after an outage: the cursor moves with each window of changes.

use chrono::Utc;
use contract::state::RunState;
use worker::sync::SyncError;

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

/// The cursor in seconds.
const CURSOR: &str = "select extract(epoch from cursor_at)::bigint from connector_state";
const OVERLAP: i64 = 30;
const EIGHT_HOURS_AGO: &str =
    "update connector_state set cursor_at = date_trunc('second', now()) - interval '8 hours'";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_that_fails_goes_on_from_its_last_window() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    test.execute(EIGHT_HOURS_AGO).await;
    let before = test.number(CURSOR).await;
    provider.runs.lock().unwrap().push(test.run("a", "new", 0, RunState::Success));
    *provider.changed.lock().unwrap() = true;
    // The clock, the pipelines, two lists in each of four windows, and the unfinished runs once.
    provider.fail_from(Some(2 + 2 * 4 + 1 + 1));
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(matches!(error, SyncError::UnreadList { .. }), "{error}");
    let reached = test.number(CURSOR).await;
    assert_eq!(reached, before - OVERLAP + 4 * 1800, "four windows of half an hour were read");
    assert_eq!(test.number("select count(*) from runs where external_id = 'new'").await, 1);
    provider.fail_from(None);
    provider.changes_since.lock().unwrap().clear();
    test.sync(&provider, false).await.unwrap();
    let first = provider.changes_since.lock().unwrap()[0];
    assert_eq!(first.timestamp(), reached - OVERLAP);
    assert!(test.number(CURSOR).await >= before + 8 * 3600 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_fails_in_a_long_poll_is_requested_once_and_keeps_the_cursor() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    test.execute(EIGHT_HOURS_AGO).await;
    let before = test.number(CURSOR).await;
    *provider.changed.lock().unwrap() = true;
    let forbidden =
        provider::ProviderError::Forbidden { status: 403, message: "Forbidden".to_owned(), subject: None };
    *provider.failing_task_runs.lock().unwrap() = Some(forbidden);
    provider.fail_from(None);
    test.sync(&provider, false).await.unwrap_err();
    assert_eq!(test.number(CURSOR).await, before);
    // The clock, the pipelines, the changed runs in each of 16 windows, the unfinished ones in the first and
    // the last, and the task runs once.
    assert_eq!(provider::Provider::requests(&provider), 2 + 16 + 2 + 1);
}

/// As after a proxy or a host with a wrong clock has answered a poll.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_clock_has_gone_back_hides_no_change() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    test.execute(
        "update connector_state set cursor_at = now() + interval '1 day',
             confirmed_at = now() - interval '10 minutes'",
    )
    .await;
    provider.changes_since.lock().unwrap().clear();
    test.sync(&provider, false).await.unwrap();
    let read = Utc::now() - provider.changes_since.lock().unwrap()[0];
    assert!((600 + OVERLAP..900).contains(&read.num_seconds()), "read since {read} ago");
    let is_past = "select count(*) from connector_state where cursor_at <= now()";
    assert_eq!(test.number(is_past).await, 1);
}
