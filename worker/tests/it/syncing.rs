//! What a sync makes of a provider's world: nothing missed, nothing said twice, nothing deleted by mistake.

use contract::state::{RunState, TaskState};
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use worker::sync::SyncError;

use crate::stage::Stage;
use crate::world::World;

/// Five pipelines with three runs of two tasks each.
pub fn small_world(stage: &Stage) -> World {
    let world = World::default();
    for pipeline in ["a", "b", "c", "d", "e"] {
        world.pipelines.lock().unwrap().push(stage.pipeline(pipeline, 0));
        for run in ["r1", "r2", "r3"] {
            world.runs.lock().unwrap().push(stage.run(pipeline, run, 0, RunState::Success));
            for task in ["t1", "t2"] {
                let task_run = stage.task_run(pipeline, run, task, -1, TaskState::Success);
                world.task_runs.lock().unwrap().push(task_run);
            }
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_brings_everything_and_an_idle_one_says_nothing() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    let first = stage.sync(&world, false).await.unwrap();
    assert_eq!(first.report.events_published, 5 + 15 + 30);
    // Readable at once: the sync ends when the read model has passed its last event.
    assert_eq!(stage.number("select count(*) from task_runs").await, 30);
    let published = stage.published();
    let before = stage.read_model().await;
    *world.changed.lock().unwrap() = true;
    let idle = stage.sync(&world, false).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
    assert_eq!(idle.report.runs_seen, 15);
    assert_eq!(stage.published(), published);
    assert_eq!(stage.read_model().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_at_any_request_is_made_good_by_the_next() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    let mut fails_at = 1;
    loop {
        world.fail_from(Some(fails_at));
        match stage.sync(&world, false).await {
            Err(SyncError::Provider(_) | SyncError::Unreadable { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => break,
        }
        fails_at += 1;
        // What failed told no lie about deletions.
        assert_eq!(stage.number("select count(*) from pipelines where not is_active").await, 0);
    }
    assert!(fails_at > 5);
    assert_eq!(stage.number("select count(*) from runs where deleted_at is null").await, 15);
    assert_eq!(stage.number("select count(*) from task_runs where deleted_at is null").await, 30);
    world.fail_from(None);
    assert_eq!(stage.sync(&world, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_run_is_asked_for_even_when_no_list_names_it() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    world.runs.lock().unwrap().push(stage.run("a", "live", 0, RunState::Running));
    stage.sync(&world, false).await.unwrap();
    world.runs.lock().unwrap().last_mut().unwrap().status = RunState::Failed;
    stage.sync(&world, false).await.unwrap();
    assert_eq!(
        stage.number("select count(*) from runs where external_id = 'live' and status = 'failed'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_of_an_expanded_task_goes() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    world.task_runs.lock().unwrap().push(stage.task_run("a", "r1", "mapped", -1, TaskState::Pending));
    stage.sync(&world, false).await.unwrap();
    let last = world.task_runs.lock().unwrap().len() - 1;
    world.task_runs.lock().unwrap()[last] = stage.task_run("a", "r1", "mapped", 0, TaskState::Running);
    *world.changed.lock().unwrap() = true;
    stage.sync(&world, false).await.unwrap();
    let live =
        "select count(*) from task_runs where task_id = 'mapped' and deleted_at is null and map_index = 0";
    assert_eq!(stage.number(live).await, 1);
    let ghost = "select count(*) from task_runs where task_id = 'mapped' and deleted_at is not null and map_index = -1";
    assert_eq!(stage.number(ghost).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_removed_when_it_became_a_mapped_one_stays() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    for (index, status) in [(0, TaskState::Success), (-1, TaskState::Removed)] {
        world.task_runs.lock().unwrap().push(stage.task_run("a", "r1", "t3", index, status));
    }
    world.tasks.lock().unwrap().push("t3");
    stage.sync(&world, false).await.unwrap();
    let both = "select count(*) from task_runs where task_id = 't3' and deleted_at is null";
    assert_eq!(stage.number(both).await, 2);
    assert_eq!(stage.sync(&world, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_in_the_graph_has_the_graph_read_again() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    *world.tasks.lock().unwrap() = vec!["t1", "t2"];
    stage.sync(&world, false).await.unwrap();
    let knows = "select count(*) from pipelines where tasks @> '[{\"task_id\": \"new\"}]'";
    world.tasks.lock().unwrap().push("new");
    *world.changed.lock().unwrap() = true;
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(knows).await, 0, "nothing tells of it");
    world.task_runs.lock().unwrap().push(stage.task_run("a", "r1", "new", -1, TaskState::Running));
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(knows).await, 1);
    let idle = stage.sync(&world, false).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_read_again_brings_its_graph_along() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    *world.tasks.lock().unwrap() = vec!["t1", "t2"];
    stage.sync(&world, false).await.unwrap();
    world.tasks.lock().unwrap().pop();
    sqlx::query("update pipeline_crawls set crawled_at = now() - interval '7 hours' where external_id = 'a'")
        .execute(&stage.pool)
        .await
        .unwrap();
    stage.sync(&world, false).await.unwrap();
    let fewer = "select count(*) from pipelines where jsonb_array_length(tasks) = 1 and external_id = 'a'";
    assert_eq!(stage.number(fewer).await, 1);
    assert_eq!(stage.number("select count(*) from pipelines where jsonb_array_length(tasks) = 2").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_only_after_two_listings_without_it() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.pipelines.lock().unwrap().remove(4);
    let gone = "select count(*) from pipelines where not is_active and external_id = 'e'";
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(gone).await, 0);
    let second = stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(gone).await, 1);
    assert_eq!(second.report.pipelines_deactivated, 1);
    assert_eq!(stage.number("select count(*) from runs where deleted_at is null").await, 15, "its runs stay");
    world.pipelines.lock().unwrap().push(stage.pipeline("e", 0));
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number(gone).await, 0, "it is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_may_not_be_seen_any_more_stays_and_holds_up_nothing() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.withheld.lock().unwrap().insert("e".to_owned());
    for _ in 0..3 {
        stage.sync(&world, false).await.unwrap();
    }
    assert_eq!(stage.number("select count(*) from pipelines where is_active").await, 5);
    world.withheld.lock().unwrap().extend(["b", "c", "d"].map(str::to_owned));
    for _ in 0..2 {
        let refused = stage.sync(&world, false).await.unwrap_err();
        assert!(matches!(refused, SyncError::MassDeletion { missing: 4, total: 5 }), "{refused}");
    }
    stage.ask(true, true).await;
    stage.sync_job(&world, &stage.take().await).await.unwrap();
    assert_eq!(stage.number("select count(*) from pipelines where is_active").await, 1);
    stage.sync(&world, false).await.unwrap();
}

/// Text that nothing makes shorter.
fn noise(mib: usize) -> String {
    let rng = StdRng::seed_from_u64(1);
    rng.sample_iter(Alphanumeric).take(mib << 20).map(char::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_larger_than_kafka_takes_holds_up_nothing() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    let give = |conf: String| world.runs.lock().unwrap()[0].conf = serde_json::json!({ "text": conf });
    // More than is sent at all.
    give("x".repeat(17 << 20));
    let first = stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs").await, 14);
    assert_eq!(first.report.events_published, 5 + 14 + 30);
    // More than the topic takes: the broker refuses it, and nothing that is sent beside it.
    give(noise(13));
    world.runs.lock().unwrap()[1].status = RunState::Failed;
    stage.sync(&world, true).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs").await, 14);
    assert_eq!(stage.number("select count(*) from runs where status = 'failed'").await, 1);
    // What is some megabytes is taken like any other.
    give(noise(2));
    stage.sync(&world, true).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs where length(conf->>'text') > 2000000").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_comes_back_without_its_runs_loses_them_here_too() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    let pipeline = world.pipelines.lock().unwrap().remove(4);
    world.runs.lock().unwrap().retain(|run| run.pipeline_external_id != "e");
    world.task_runs.lock().unwrap().retain(|task_run| task_run.pipeline_external_id != "e");
    stage.sync(&world, false).await.unwrap();
    stage.sync(&world, false).await.unwrap();
    world.pipelines.lock().unwrap().push(pipeline);
    stage.sync(&world, false).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs where deleted_at is null").await, 12);
    assert_eq!(stage.number("select count(*) from task_runs where deleted_at is null").await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_stops_and_says_so_until_it_is_accepted() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.pipelines.lock().unwrap().clear();
    for _ in 0..3 {
        let refused = stage.sync(&world, true).await.unwrap_err();
        assert!(matches!(refused, SyncError::MassDeletion { missing: 5, total: 5 }), "{refused}");
    }
    assert_eq!(stage.number("select count(*) from pipelines where is_active").await, 5);
    stage.ask(true, true).await;
    let job = stage.take().await;
    let accepted = stage.sync_job(&world, &job).await.unwrap();
    assert_eq!(accepted.report.pipelines_deactivated, 5);
    assert_eq!(stage.number("select count(*) from pipelines where is_active").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_finds_what_was_deleted() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    stage.sync(&world, false).await.unwrap();
    world.runs.lock().unwrap().retain(|run| run.external_id != "r2");
    world.task_runs.lock().unwrap().retain(|task| task.run_external_id != "r2" && task.task_id != "t2");
    let full = stage.sync(&world, true).await.unwrap();
    assert_eq!(stage.number("select count(*) from runs where deleted_at is null").await, 10);
    assert_eq!(stage.number("select count(*) from task_runs where deleted_at is null").await, 10);
    assert_eq!(full.report.events_published, 5 + 10 + 10);
    assert_eq!(stage.sync(&world, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_moves_nothing() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    let late = stage.lease(false).await;
    sqlx::query("update connector_state set lease_until = now() - interval '1 second'")
        .execute(&stage.pool)
        .await
        .unwrap();
    stage.sync(&world, false).await.unwrap();
    let cursor = stage.number("select extract(epoch from cursor_at)::int8 from connector_state").await;
    assert!(matches!(stage.sync_job(&world, &late).await, Err(SyncError::LeaseLost)));
    assert_eq!(stage.number("select extract(epoch from cursor_at)::int8 from connector_state").await, cursor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_run_names_its_user_even_when_it_is_seen_here_first() {
    let stage = Stage::new().await;
    let world = small_world(&stage);
    sqlx::query(
        "with ada as (insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada') returning id)
         insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             command_sha256, attempt_until)
         select gen_random_uuid(), c.space_id, c.id, $1, ada.id, 'r2', $2, '', now() from ada, connectors c",
    )
    .bind(contract::ids::PipelineId::of(stage.connector, "a"))
    .bind(contract::ids::RunId::of(stage.connector, "a", "r2"))
    .execute(&stage.pool)
    .await
    .unwrap();
    stage.sync(&world, false).await.unwrap();
    assert_eq!(
        stage
            .number("select count(*) from runs where triggered_by_name = 'Ada' and external_id = 'r2'")
            .await,
        1
    );
    assert_eq!(stage.number("select count(*) from runs where triggered_by_name is not null").await, 1);
}
