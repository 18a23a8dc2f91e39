//! Histories: read while polls go on, gone on with after a crash, and never in the way of what is new.

use chrono::{TimeDelta, Utc};
use contract::state::{RunState, TaskState};
use tokio::sync::watch;
use worker::sync::{SyncError, sync_connector};

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

/// Lets go of a lease as a worker does that is killed.
async fn kill_holder(test: &TestWorker) {
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
}

async fn tick(test: &TestWorker) {
    test.execute(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at)
         select gen_random_uuid(), space_id, id, 'queued', 'schedule', now(), now() from connectors",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_go_on_and_serve_who_waits_while_histories_are_read() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.allow_histories(1);
    let full = test.sync(&provider, true);
    let meanwhile = async {
        test.wait_for("select count(*) = 1 from pipeline_crawls where crawled_at > (select max(requested_at) from syncs)").await;
        provider.runs.lock().unwrap()[0].status = RunState::Failed;
        *provider.changed.lock().unwrap() = true;
        tick(&test).await;
        let asked = test.enqueue_sync(false, false).await;
        // Somebody joins it an hour from now: what is read until then does not serve them.
        let joined = "update syncs set asked_at = now() + interval '1 hour' where id = $1";
        sqlx::query(joined).bind(asked).execute(&test.pool).await.unwrap();
        test.wait_for("select count(*) = 1 from runs where status = 'failed'").await;
        test.wait_for("select bool_and(status = 'succeeded') from syncs where trigger = 'schedule'").await;
        let still = "select count(*) from syncs where status = 'running' and \"full\"";
        assert_eq!(test.number(still).await, 1, "the full one is not through");
        assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
        test.execute("update syncs set asked_at = null").await;
        test.wait_for("select bool_and(status = 'succeeded') from syncs where not \"full\"").await;
        provider.allow_histories(0);
        asked
    };
    let (full, asked) = tokio::join!(full, meanwhile);
    full.unwrap();
    let (started_after, status): (bool, String) =
        sqlx::query_as("select started_at >= requested_at, status from syncs where id = $1")
            .bind(asked)
            .fetch_one(&test.pool)
            .await
            .unwrap();
    assert_eq!((started_after, status.as_str()), (true, "succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_that_was_killed_goes_on_where_it_was_even_when_others_have_joined_it() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.allow_histories(3);
    let job = test.enqueue_and_claim(true).await;
    let progress = watch::Sender::default();
    let killed = sync_connector(&test.pool, test.producer(), &job, &provider, &progress);
    let full_crawls = "select count(*) >= 3 from pipeline_crawls where crawled_at >= (select max(requested_at) from syncs where \"full\")";
    tokio::select! {
        outcome = killed => panic!("it cannot end: {outcome:?}"),
        () = test.wait_for(full_crawls) => {}
    }
    kill_holder(&test).await;
    tick(&test).await;
    provider.allow_histories(0);
    let job = test.enqueue_and_claim(false).await;
    assert_eq!(job.syncs.len(), 3);
    test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(
        provider.histories_read(),
        2,
        "what was read since the full one was asked for is not read again"
    );
    assert_eq!(test.number("select count(*) from syncs where status <> 'succeeded'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_cannot_be_read_holds_up_neither_the_others_nor_the_cursor() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.unreadable.lock().unwrap().insert("c".to_owned());
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(
        error.to_string().starts_with("1 of 5 histories could not be read, the first of them that of c: "),
        "{error}"
    );
    assert_eq!(test.number("select count(*) from pipeline_crawls where crawled_at is not null").await, 4);
    let cursor = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'";
    test.execute("update connector_state set cursor_at = now() - interval '1 day'").await;
    test.sync(&provider, false).await.unwrap_err();
    assert_eq!(test.number(cursor).await, 1, "what changed was read, whatever the history");
    provider.unreadable.lock().unwrap().clear();
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from runs").await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_at_every_history_is_left_alone() {
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
    assert!(matches!(error, SyncError::Provider(_)), "{error}");
    // Eight are open at a time, and more than five bad ones are enough.
    assert!(provider.histories_read() <= 10, "{} of 45 were asked for", provider.histories_read());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_whose_tasks_changed_are_read_as_histories_and_not_one_by_one() {
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
async fn runs_in_a_state_that_nobody_knows_are_asked_for_a_few_at_a_time() {
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
    let ended = "select count(*) from runs where external_id = 'live' and status = 'failed'";
    assert_eq!(test.number(ended).await, 1, "one that runs is among the first that are asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_older_than_the_history_comes_whole_when_it_changes() {
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
    let shown = "select count(*) from task_runs t join runs r on r.id = t.run_id where r.external_id = 'old'";
    assert_eq!(test.number(shown).await, 0, "it is older than the history");
    *provider.changed.lock().unwrap() = true;
    *provider.hides_tasks.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(shown).await, 2);
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number(shown).await, 2, "and a full sync does not take it for deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_graph_comes_with_the_history_and_changes_with_it() {
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
    assert_eq!(test.number(tasks).await, 3, "no list told of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ran_and_is_unknown_gives_a_changed_graph_away() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    provider.tasks.lock().unwrap().push("t3");
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "t3", -1, TaskState::Success));
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    let grown = "select count(*) from pipelines where jsonb_array_length(tasks) = 3 and external_id = 'a'";
    assert_eq!(test.number(grown).await, 1);
    assert_eq!(test.number("select count(*) from pipelines where jsonb_array_length(tasks) = 3").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_failed_for_weeks_is_still_told_of() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.fail_from(Some(1));
    test.execute("update connector_state set failures = 20000").await;
    test.sync(&provider, false).await.unwrap_err();
    assert_eq!(test.number("select count(*) from syncs where status = 'failed'").await, 1);
    let rest = "select count(*) from connector_state where failures = 20001
                and retry_at between now() + interval '30 seconds' and now() + interval '61 seconds'";
    assert_eq!(test.number(rest).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_is_passed_only_by_the_request_that_may() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(true, false).await;
    test.enqueue_sync(false, true).await;
    let job = test.claim().await;
    assert!(job.full_since.is_some() && !job.accept_mass_deletion);
}
