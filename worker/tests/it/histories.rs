//! Histories are read beside polls and resumed after a crash, and never delay new events.

use chrono::{TimeDelta, Utc};
use contract::state::{EntityKind, RunState, SyncTrigger, TaskState};
use testkit::SeededSync;
use tokio::sync::watch;
use worker::sync::SyncError;

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

/// Ends the pauses of what could not be read.
pub(crate) const END_PAUSES: &str = "update pipeline_crawls set tried_at = now() - interval '1 day',
    graph_tried_at = now() - interval '1 day'";

/// Expires the connector's lease, as if its worker had been killed.
async fn expire_lease(test: &TestWorker) {
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
}

async fn enqueue_scheduled_sync(test: &TestWorker) {
    let sync = SeededSync { trigger: SyncTrigger::Schedule, ..SeededSync::default() };
    testkit::insert_sync(&test.pool, test.connector, sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_continue_and_complete_waiting_syncs_while_histories_are_read() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.allow_histories(1);
    let full = test.sync(&provider, true);
    let poll_meanwhile = async {
        test.wait_for(
            "select count(*) = 1 from pipeline_crawls where crawled_at > (select max(requested_at)
                        from syncs)",
        )
        .await;
        provider.runs.lock().unwrap()[0].status = RunState::Failed;
        *provider.changed.lock().unwrap() = true;
        enqueue_scheduled_sync(&test).await;
        let requested = test.enqueue_sync(false, false).await;
        // A request joins the sync an hour from now, which no earlier poll completes.
        let join_later = "update syncs set asked_at = now() + interval '1 hour' where id = $1";
        sqlx::query(join_later).bind(requested).execute(&test.pool).await.unwrap();
        test.wait_for("select count(*) = 1 from runs where status = 'failed'").await;
        test.wait_for("select bool_and(status = 'succeeded') from syncs where trigger = 'schedule'").await;
        let running_full = "select count(*) from syncs where status = 'running' and \"full\"";
        assert_eq!(test.number(running_full).await, 1, "the full sync is still running");
        assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
        test.execute("update syncs set asked_at = null").await;
        test.wait_for("select bool_and(status = 'succeeded') from syncs where not \"full\"").await;
        provider.allow_histories(0);
        requested
    };
    let (full, requested) = tokio::join!(full, poll_meanwhile);
    full.unwrap();
    let (started_after, status): (bool, String) =
        sqlx::query_as("select started_at >= requested_at, status from syncs where id = $1")
            .bind(requested)
            .fetch_one(&test.pool)
            .await
            .unwrap();
    assert_eq!((started_after, status.as_str()), (true, "succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_full_sync_resumes_even_if_others_have_joined_it() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.allow_histories(3);
    let job = test.enqueue_and_claim(true).await;
    let progress = watch::Sender::default();
    let blocked = test.run_pass(&provider, &job, &progress);
    let full_crawls =
        "select count(*) >= 3 from pipeline_crawls where crawled_at >= (select max(requested_at)
                        from syncs where \"full\")";
    tokio::select! {
        outcome = blocked => panic!("a blocked sync ended: {outcome:?}"),
        () = test.wait_for(full_crawls) => {}
    }
    expire_lease(&test).await;
    enqueue_scheduled_sync(&test).await;
    provider.allow_histories(0);
    let job = test.enqueue_and_claim(false).await;
    assert_eq!(job.syncs.len(), 3);
    test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(
        provider.histories_read(),
        2,
        "histories read since the full sync was requested are not read again"
    );
    assert_eq!(test.number("select count(*) from syncs where status <> 'succeeded'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_history_delays_neither_other_histories_nor_the_cursor() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.unreadable.lock().unwrap().insert("c".to_owned());
    let first = test.sync(&provider, false).await.unwrap().report;
    let [entry] = &first.unreadable[..] else { panic!("{first:?}") };
    assert_eq!((entry.what, entry.id.as_str()), (EntityKind::Pipeline, "c"));
    assert!(entry.reason.starts_with("its history cannot be read: The provider at test answered 500"));
    assert_eq!(test.number("select count(*) from pipeline_crawls where crawled_at is not null").await, 4);
    let cursor = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'";
    test.execute("update connector_state set cursor_at = now() - interval '1 day'").await;
    let second = test.sync(&provider, false).await.unwrap().report;
    assert_eq!(second.unreadable_count, 1, "it is named until it is read");
    assert_eq!(provider.histories_read(), 5, "it is not tried again at once");
    assert_eq!(test.number(cursor).await, 1, "changes were read in spite of the history");
    provider.unreadable.lock().unwrap().clear();
    test.execute(END_PAUSES).await;
    assert_eq!(test.sync(&provider, false).await.unwrap().report.unreadable_count, 0);
    assert_eq!(test.number("select count(*) from runs").await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_unreadable_histories_stop_neither_reconciling_nor_the_confirmation_of_rows() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for number in 0..35 {
        provider.pipelines.lock().unwrap().push(test.pipeline(&format!("p{number:02}"), 0));
    }
    test.sync(&provider, false).await.unwrap();
    for number in 0..7 {
        provider.unreadable.lock().unwrap().insert(format!("p{number:02}"));
    }
    test.execute("update pipeline_crawls set crawled_at = now() - interval '7 hours'").await;
    test.execute(
        "update pipeline_crawls set crawled_at = now() - interval '8 hours' where external_id like 'p0_'",
    )
    .await;
    test.execute("update connector_state set confirmed_at = now() - interval '7 hours'").await;
    let report = test.sync(&provider, false).await.unwrap().report;
    assert_eq!(report.unreadable_count, 7);
    let read = "select count(*) from pipeline_crawls where crawled_at > now() - interval '5 minutes'";
    assert_eq!(test.number(read).await, 33);
    let confirmed = "select count(*) from connector_state where failures = 0
                         and least(confirmed_at, last_success_at) > now() - interval '5 minutes'";
    assert_eq!(test.number(confirmed).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_histories_rest_longer_after_each_failure_but_not_for_a_full_sync() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.unreadable.lock().unwrap().insert("c".to_owned());
    test.sync(&provider, false).await.unwrap();
    let mut tried = provider.histories_read();
    for (seconds, attempts) in [(50, 0), (70, 1), (110, 0), (130, 1), (230, 0), (250, 1)] {
        sqlx::query("update pipeline_crawls set tried_at = now() - make_interval(secs => $1)")
            .bind(f64::from(seconds))
            .execute(&test.pool)
            .await
            .unwrap();
        test.sync(&provider, false).await.unwrap();
        assert_eq!(provider.histories_read() - tried, attempts, "after {seconds} s");
        tried = provider.histories_read();
    }
    assert_eq!(test.sync(&provider, true).await.unwrap().report.unreadable_count, 1);
    assert_eq!(provider.histories_read() - tried, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_stops_after_too_many_histories_that_fail_for_one_cause() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for number in 0..40 {
        let name = format!("p{number}");
        provider.pipelines.lock().unwrap().push(test.pipeline(&name, 0));
    }
    let all =
        provider.pipelines.lock().unwrap().iter().map(|pipeline| pipeline.external_id.clone()).collect();
    *provider.unreadable.lock().unwrap() = all;
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(matches!(error, SyncError::Unreadable { count: 10, of: 45, .. }), "{error}");
    // Eight histories are read concurrently, and the sync fails after more than a fifth of 45 errors.
    assert!(provider.histories_read() <= 18, "{} of 45 histories were requested", provider.histories_read());
    let confirmed = "select count(*) from connector_state where confirmed_at is not null";
    assert_eq!(test.number(confirmed).await, 1, "the poll was complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_which_no_history_can_be_read_fails() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.unreadable.lock().unwrap().extend(["a", "b", "c", "d", "e"].map(str::to_owned));
    for _ in 0..2 {
        let error = test.sync(&provider, true).await.unwrap_err();
        assert!(matches!(error, SyncError::Unreadable { count: 5, of: 5, .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_with_changed_tasks_are_read_by_history_and_not_one_by_one() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for run in 0..300 {
        let run = format!("many{run}");
        provider.runs.lock().unwrap().push(test.run("a", &run, 0, RunState::Success));
        let task = test.task_run("a", &run, "t", -1, TaskState::Success);
        provider.task_runs.lock().unwrap().push(task);
    }
    test.sync(&provider, false).await.unwrap();
    for run in provider.runs.lock().unwrap().iter_mut() {
        run.note = Some("cleared".to_owned());
    }
    *provider.changed.lock().unwrap() = true;
    *provider.hides_runs.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_single_run_requests(), 0);
    assert_eq!(test.number("select count(*) from runs where note is null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_an_unknown_state_are_read_in_limited_numbers() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for run in 0..500 {
        provider.runs.lock().unwrap().push(test.run("a", &format!("odd{run}"), 0, RunState::Unknown));
    }
    test.sync(&provider, false).await.unwrap();
    provider.take_single_run_requests();
    let live = test.run("b", "live", 0, RunState::Running);
    provider.runs.lock().unwrap().push(live);
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_single_run_requests(), 200);
    provider.runs.lock().unwrap().last_mut().unwrap().status = RunState::Failed;
    test.sync(&provider, false).await.unwrap();
    let is_failed = "select count(*) from runs where external_id = 'live' and status = 'failed'";
    assert_eq!(test.number(is_failed).await, 1, "running runs are read first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_run_older_than_the_history_is_read_with_its_task_runs() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let mut old = test.run("a", "old", 0, RunState::Success);
    old.run_after = Some(Utc::now() - TimeDelta::days(90));
    provider.runs.lock().unwrap().push(old);
    for task in ["t1", "t2"] {
        let task = test.task_run("a", "old", task, -1, TaskState::Success);
        provider.task_runs.lock().unwrap().push(task);
    }
    test.sync(&provider, false).await.unwrap();
    let old_task_runs =
        "select count(*) from task_runs t join runs r on r.id = t.run_id where r.external_id = 'old'";
    assert_eq!(test.number(old_task_runs).await, 0, "the run is older than the history");
    *provider.changed.lock().unwrap() = true;
    *provider.hides_tasks.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(old_task_runs).await, 2);
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number(old_task_runs).await, 2, "a full sync does not delete it");
}

const WHOLE_OLD_RUNS: &str = "select count(*) from runs r where r.external_id like 'old%'
    and exists (select from task_runs t where t.run_id = r.id)";

#[tokio::test(flavor = "multi_thread")]
async fn many_old_runs_that_change_at_once_all_become_whole() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for number in 0..450 {
        let name = format!("old{number}");
        let mut old = test.run("a", &name, 0, RunState::Success);
        old.run_after = Some(Utc::now() - TimeDelta::days(90));
        provider.runs.lock().unwrap().push(old);
        provider.task_runs.lock().unwrap().push(test.task_run("a", &name, "t", -1, TaskState::Success));
    }
    test.sync(&provider, false).await.unwrap();
    *provider.hides_tasks.lock().unwrap() = true;
    for (changed, whole) in [(true, 200), (false, 400), (false, 450), (false, 450)] {
        *provider.changed.lock().unwrap() = changed;
        test.sync(&provider, false).await.unwrap();
        assert_eq!(test.number(WHOLE_OLD_RUNS).await, whole);
    }
    assert_eq!(test.number("select count(*) from incomplete_runs").await, 0);
}

/// Airflow 2 does not return when a run was due: the run of a month begins at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_within_the_history_belongs_to_it_whatever_its_date() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let mut monthly = test.run("a", "old", 0, RunState::Success);
    (monthly.run_after, monthly.logical_date) = (None, Some(Utc::now() - TimeDelta::days(60)));
    monthly.ended_at = Some(Utc::now() - TimeDelta::days(29));
    provider.runs.lock().unwrap().push(monthly);
    provider.task_runs.lock().unwrap().push(test.task_run("a", "old", "t", -1, TaskState::Success));
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where external_id = 'old'").await, 1);
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(WHOLE_OLD_RUNS).await, 1, "its task runs are read by the next poll");
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from incomplete_runs").await, 0, "not again");
    provider.runs.lock().unwrap().pop();
    provider.task_runs.lock().unwrap().pop();
    test.sync(&provider, true).await.unwrap();
    let deleted = "select count(*) from runs where external_id = 'old' and deleted_at is not null";
    assert_eq!(test.number(deleted).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_graph_is_read_again_with_the_history() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    let tasks = "select max(jsonb_array_length(tasks))::bigint from pipelines";
    assert_eq!(test.number(tasks).await, 2);
    provider.tasks.lock().unwrap().push("t3");
    test.execute("update pipeline_crawls set crawled_at = now() - interval '7 hours'").await;
    test.execute("update connector_state set confirmed_at = now() - interval '7 hours'").await;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(tasks).await, 3, "the graph changed without a listed change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_run_of_an_unknown_task_refreshes_the_graph() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    provider.tasks.lock().unwrap().push("t3");
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "t3", -1, TaskState::Success));
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    let with_three_tasks =
        "select count(*) from pipelines where jsonb_array_length(tasks) = 3 and external_id = 'a'";
    assert_eq!(test.number(with_three_tasks).await, 1);
    assert_eq!(test.number("select count(*) from pipelines where jsonb_array_length(tasks) = 3").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_after_twenty_thousand_failures_still_fails_with_a_back_off() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.fail_from(Some(1));
    test.execute("update connector_state set failures = 20000").await;
    test.sync(&provider, false).await.unwrap_err();
    assert_eq!(test.number("select count(*) from syncs where status = 'failed'").await, 1);
    let back_off = "select count(*) from connector_state where failures = 20001
                and retry_at between now() + interval '30 seconds' and now() + interval '61 seconds'";
    assert_eq!(test.number(back_off).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_is_accepted_only_for_the_sync_that_accepts_it() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(true, false).await;
    test.enqueue_sync(false, true).await;
    let job = test.claim().await;
    assert!(job.full_since.is_some() && !job.accept_mass_deletion);
}
