//! Histories: read while polls go on, gone on with after a crash, and never in the way of what is new.

use chrono::{TimeDelta, Utc};
use contract::state::{RunState, TaskState};
use tokio::sync::watch;
use worker::sync::{SyncError, sync_connector};

use crate::stage::Stage;
use crate::syncing::small_world;

/// Lets go of a lease as a worker does that is killed.
async fn kill_holder(stage: &Stage) {
    sqlx::query("update connector_state set lease_until = now() - interval '1 second'")
        .execute(&stage.pool)
        .await
        .unwrap();
}

async fn tick(stage: &Stage) {
    sqlx::query(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, accepted_at)
         select gen_random_uuid(), space_id, id, 'queued', 'schedule', now(), now() from connectors",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_go_on_and_serve_who_waits_while_histories_are_read() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.allow_histories(1);
    let full = stage.sync(&world, true);
    let meanwhile = async {
        stage.until("select count(*) = 1 from pipeline_crawls where crawled_at > (select max(requested_at) from syncs)").await;
        world.runs.lock().unwrap()[0].status = RunState::Failed;
        *world.changed.lock().unwrap() = true;
        tick(&stage).await;
        let asked = stage.ask(false, false).await;
        // Somebody joins it an hour from now: what is read until then does not serve them.
        let joined = "update syncs set asked_at = now() + interval '1 hour' where id = $1";
        sqlx::query(joined).bind(asked).execute(&stage.pool).await.unwrap();
        stage.until("select count(*) = 1 from runs where status = 'failed'").await;
        stage.until("select bool_and(status = 'succeeded') from syncs where trigger = 'schedule'").await;
        let still = "select count(*) from syncs where status = 'running' and \"full\"";
        assert_eq!(stage.number(still).await, 1, "the full one is not through");
        assert_eq!(stage.number("select count(*) from syncs where status = 'queued'").await, 1);
        sqlx::query("update syncs set asked_at = null").execute(&stage.pool).await.unwrap();
        stage.until("select bool_and(status = 'succeeded') from syncs where not \"full\"").await;
        world.allow_histories(0);
        asked
    };
    let (full, asked) = tokio::join!(full, meanwhile);
    full.unwrap();
    let (started_after, status): (bool, String) =
        sqlx::query_as("select started_at >= requested_at, status from syncs where id = $1")
            .bind(asked)
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!((started_after, status.as_str()), (true, "succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_that_was_killed_goes_on_where_it_was_even_when_others_have_joined_it() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.allow_histories(3);
    let job = stage.lease(true).await;
    let progress = watch::Sender::default();
    let killed = sync_connector(&stage.pool, stage.producer(), &job, &world, &progress);
    let full_crawls = "select count(*) >= 3 from pipeline_crawls where crawled_at >= (select max(requested_at) from syncs where \"full\")";
    tokio::select! {
        outcome = killed => panic!("it cannot end: {outcome:?}"),
        () = stage.until(full_crawls) => {}
    }
    kill_holder(&stage).await;
    tick(&stage).await;
    world.allow_histories(0);
    let job = stage.lease(false).await;
    assert_eq!(job.syncs.len(), 3);
    stage.sync_job(&world, &job).await.unwrap();
    assert_eq!(world.histories_read(), 2, "what was read since the full one was asked for is not read again");
    assert_eq!(stage.number("select count(*) from syncs where status <> 'succeeded'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_cannot_be_read_holds_up_neither_the_others_nor_the_cursor() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    world.unreadable.lock().unwrap().insert("c".to_owned());
    let error = stage.sync(&world, false).await.unwrap_err();
    assert!(
        error.to_string().starts_with("1 of 5 histories could not be read, the first of them that of c: "),
        "{error}"
    );
    assert_eq!(stage.number("select count(*) from pipeline_crawls where crawled_at is not null").await, 4);
    let cursor = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'";
    sqlx::query("update connector_state set cursor_at = now() - interval '1 day'")
        .execute(&stage.pool)
        .await
        .unwrap();
    stage.sync(&world, false).await.unwrap_err();
    assert_eq!(stage.number(cursor).await, 1, "what changed was read, whatever the history");
    world.unreadable.lock().unwrap().clear();
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs").await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_at_every_history_is_left_alone() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    for number in 0..40 {
        let name = format!("p{number}");
        world.pipelines.lock().unwrap().push(stage.pipeline(&name, 0));
    }
    let all = world.pipelines.lock().unwrap().iter().map(|pipeline| pipeline.external_id.clone()).collect();
    *world.unreadable.lock().unwrap() = all;
    let error = stage.sync(&world, false).await.unwrap_err();
    assert!(matches!(error, SyncError::Provider(_)), "{error}");
    // Eight are open at a time, and more than five bad ones are enough.
    assert!(world.histories_read() <= 10, "{} of 45 were asked for", world.histories_read());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_whose_tasks_changed_are_read_as_histories_and_not_one_by_one() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    for run in 0..300 {
        let run = format!("many{run}");
        world.runs.lock().unwrap().push(stage.run("a", &run, 0, RunState::Success));
        let task = stage.task_run("a", &run, "t", -1, TaskState::Success);
        world.task_runs.lock().unwrap().push(task);
    }
    stage.sync(&world, false).await.unwrap();
    for run in world.runs.lock().unwrap().iter_mut() {
        run.note = Some("cleared".to_owned());
    }
    *world.changed.lock().unwrap() = true;
    *world.hides_runs.lock().unwrap() = true;
    stage.sync(&world, false).await.unwrap();
    assert_eq!(world.take_singles(), 0);
    assert_eq!(stage.number("select count(*) from runs where note is null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_a_state_that_nobody_knows_are_asked_for_a_few_at_a_time() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    for run in 0..500 {
        world.runs.lock().unwrap().push(stage.run("a", &format!("odd{run}"), 0, RunState::Unknown));
    }
    stage.sync(&world, false).await.unwrap();
    world.take_singles();
    let live = stage.run("b", "live", 0, RunState::Running);
    world.runs.lock().unwrap().push(live);
    stage.sync(&world, false).await.unwrap();
    assert_eq!(world.take_singles(), 200);
    world.runs.lock().unwrap().last_mut().unwrap().status = RunState::Failed;
    stage.sync(&world, false).await.unwrap();
    let ended = "select count(*) from runs where external_id = 'live' and status = 'failed'";
    assert_eq!(stage.number(ended).await, 1, "one that runs is among the first that are asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_older_than_the_history_comes_whole_when_it_changes() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    let mut old = stage.run("a", "old", 0, RunState::Success);
    old.run_after = Some(Utc::now() - TimeDelta::days(90));
    world.runs.lock().unwrap().push(old);
    for task in ["t1", "t2"] {
        let task = stage.task_run("a", "old", task, -1, TaskState::Success);
        world.task_runs.lock().unwrap().push(task);
    }
    stage.sync(&world, false).await.unwrap();
    let shown = "select count(*) from task_runs t join runs r on r.id = t.run_id where r.external_id = 'old'";
    assert_eq!(stage.number(shown).await, 0, "it is older than the history");
    *world.changed.lock().unwrap() = true;
    *world.hides_tasks.lock().unwrap() = true;
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(shown).await, 2);
    stage.sync(&world, true).await.unwrap();
    assert_eq!(stage.number(shown).await, 2, "and a full sync does not take it for deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_graph_comes_with_the_history_and_changes_with_it() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    *world.tasks.lock().unwrap() = vec!["t1", "t2"];
    stage.sync(&world, false).await.unwrap();
    let tasks = "select max(jsonb_array_length(tasks))::bigint from pipelines";
    assert_eq!(stage.number(tasks).await, 2);
    world.tasks.lock().unwrap().push("t3");
    sqlx::query("update pipeline_crawls set crawled_at = now() - interval '7 hours'")
        .execute(&stage.pool)
        .await
        .unwrap();
    sqlx::query("update connector_state set confirmed_at = now() - interval '7 hours'")
        .execute(&stage.pool)
        .await
        .unwrap();
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(tasks).await, 3, "no list told of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ran_and_is_unknown_gives_a_changed_graph_away() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    *world.tasks.lock().unwrap() = vec!["t1", "t2"];
    stage.sync(&world, false).await.unwrap();
    world.tasks.lock().unwrap().push("t3");
    world.task_runs.lock().unwrap().push(stage.task_run("a", "r1", "t3", -1, TaskState::Success));
    *world.changed.lock().unwrap() = true;
    stage.sync(&world, false).await.unwrap();
    let grown = "select count(*) from pipelines where jsonb_array_length(tasks) = 3 and external_id = 'a'";
    assert_eq!(stage.number(grown).await, 1);
    assert_eq!(stage.number("select count(*) from pipelines where jsonb_array_length(tasks) = 3").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_failed_for_weeks_is_still_told_of() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    world.fail_from(Some(1));
    sqlx::query("update connector_state set failures = 20000").execute(&stage.pool).await.unwrap();
    stage.sync(&world, false).await.unwrap_err();
    assert_eq!(stage.number("select count(*) from syncs where status = 'failed'").await, 1);
    let rest = "select count(*) from connector_state where failures = 20001
                and retry_at between now() + interval '30 seconds' and now() + interval '61 seconds'";
    assert_eq!(stage.number(rest).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_is_passed_only_by_the_request_that_may() {
    let stage = Stage::empty().await;
    stage.ask(true, false).await;
    stage.ask(false, true).await;
    let job = stage.take().await;
    assert!(job.full_since.is_some() && !job.accept_mass_deletion);
}
