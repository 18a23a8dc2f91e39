//! What a sync makes of a provider's provider: nothing missed, nothing said twice, nothing deleted by mistake.

use contract::state::{RunState, TaskState};
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::FakeProvider;
use worker::sync::SyncError;

use crate::test_worker::TestWorker;

/// Five pipelines with three runs of two tasks each.
pub fn small_provider(test: &TestWorker) -> FakeProvider {
    let provider = FakeProvider::default();
    for pipeline in ["a", "b", "c", "d", "e"] {
        provider.pipelines.lock().unwrap().push(test.pipeline(pipeline, 0));
        for run in ["r1", "r2", "r3"] {
            provider.runs.lock().unwrap().push(test.run(pipeline, run, 0, RunState::Success));
            for task in ["t1", "t2"] {
                let task_run = test.task_run(pipeline, run, task, -1, TaskState::Success);
                provider.task_runs.lock().unwrap().push(task_run);
            }
        }
    }
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_brings_everything_and_an_idle_one_says_nothing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let first = test.sync(&provider, false).await.unwrap();
    assert_eq!(first.report.events_published, 5 + 15 + 30);
    // Readable at once: the sync ends when the read model has passed its last event.
    assert_eq!(test.number("select count(*) from task_runs").await, 30);
    let published = test.published_records();
    let before = test.read_model().await;
    *provider.changed.lock().unwrap() = true;
    let idle = test.sync(&provider, false).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
    assert_eq!(idle.report.runs_seen, 15);
    assert_eq!(test.published_records(), published);
    assert_eq!(test.read_model().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_at_any_request_is_made_good_by_the_next() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let mut fails_at = 1;
    loop {
        provider.fail_from(Some(fails_at));
        match test.sync(&provider, false).await {
            Err(SyncError::Provider(_) | SyncError::Unreadable { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => break,
        }
        fails_at += 1;
        // What failed told no lie about deletions.
        assert_eq!(test.number("select count(*) from pipelines where not is_active").await, 0);
    }
    assert!(fails_at > 5);
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 15);
    assert_eq!(test.number("select count(*) from task_runs where deleted_at is null").await, 30);
    provider.fail_from(None);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_run_is_asked_for_even_when_no_list_names_it() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.runs.lock().unwrap().push(test.run("a", "live", 0, RunState::Running));
    test.sync(&provider, false).await.unwrap();
    provider.runs.lock().unwrap().last_mut().unwrap().status = RunState::Failed;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(
        test.number("select count(*) from runs where external_id = 'live' and status = 'failed'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_of_an_expanded_task_goes() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "mapped", -1, TaskState::Pending));
    test.sync(&provider, false).await.unwrap();
    let last = provider.task_runs.lock().unwrap().len() - 1;
    provider.task_runs.lock().unwrap()[last] = test.task_run("a", "r1", "mapped", 0, TaskState::Running);
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    let live =
        "select count(*) from task_runs where task_id = 'mapped' and deleted_at is null and map_index = 0";
    assert_eq!(test.number(live).await, 1);
    let ghost = "select count(*) from task_runs where task_id = 'mapped' and deleted_at is not null and map_index = -1";
    assert_eq!(test.number(ghost).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_removed_when_it_became_a_mapped_one_stays() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for (index, status) in [(0, TaskState::Success), (-1, TaskState::Removed)] {
        provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "t3", index, status));
    }
    provider.tasks.lock().unwrap().push("t3");
    test.sync(&provider, false).await.unwrap();
    let both = "select count(*) from task_runs where task_id = 't3' and deleted_at is null";
    assert_eq!(test.number(both).await, 2);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_in_the_graph_has_the_graph_read_again() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    let knows = "select count(*) from pipelines where tasks @> '[{\"task_id\": \"new\"}]'";
    provider.tasks.lock().unwrap().push("new");
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(knows).await, 0, "nothing tells of it");
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "new", -1, TaskState::Running));
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(knows).await, 1);
    let idle = test.sync(&provider, false).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_read_again_brings_its_graph_along() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    provider.tasks.lock().unwrap().pop();
    test.execute(
        "update pipeline_crawls set crawled_at = now() - interval '7 hours' where external_id = 'a'",
    )
    .await;
    test.sync(&provider, false).await.unwrap();
    let fewer = "select count(*) from pipelines where jsonb_array_length(tasks) = 1 and external_id = 'a'";
    assert_eq!(test.number(fewer).await, 1);
    assert_eq!(test.number("select count(*) from pipelines where jsonb_array_length(tasks) = 2").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_only_after_two_listings_without_it() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.pipelines.lock().unwrap().remove(4);
    let gone = "select count(*) from pipelines where not is_active and external_id = 'e'";
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(gone).await, 0);
    let second = test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(gone).await, 1);
    assert_eq!(second.report.pipelines_deactivated, 1);
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 15, "its runs stay");
    provider.pipelines.lock().unwrap().push(test.pipeline("e", 0));
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(gone).await, 0, "it is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_may_not_be_seen_any_more_stays_and_holds_up_nothing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.forbidden.lock().unwrap().insert("e".to_owned());
    for _ in 0..3 {
        test.sync(&provider, false).await.unwrap();
    }
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 5);
    provider.forbidden.lock().unwrap().extend(["b", "c", "d"].map(str::to_owned));
    for _ in 0..2 {
        let refused = test.sync(&provider, false).await.unwrap_err();
        assert!(matches!(refused, SyncError::MassDeletion { missing: 4, total: 5 }), "{refused}");
    }
    test.enqueue_sync(true, true).await;
    test.sync_job(&provider, &test.claim().await).await.unwrap();
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 1);
    test.sync(&provider, false).await.unwrap();
}

/// Text that nothing makes shorter.
fn noise(mib: usize) -> String {
    let rng = StdRng::seed_from_u64(1);
    rng.sample_iter(Alphanumeric).take(mib << 20).map(char::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_larger_than_kafka_takes_holds_up_nothing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let give = |conf: String| provider.runs.lock().unwrap()[0].conf = serde_json::json!({ "text": conf });
    // More than is sent at all.
    give("x".repeat(17 << 20));
    let first = test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from runs").await, 14);
    assert_eq!(first.report.events_published, 5 + 14 + 30);
    // More than the topic takes: the broker refuses it, and nothing that is sent beside it.
    give(noise(13));
    provider.runs.lock().unwrap()[1].status = RunState::Failed;
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from runs").await, 14);
    assert_eq!(test.number("select count(*) from runs where status = 'failed'").await, 1);
    // What is some megabytes is taken like any other.
    give(noise(2));
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where length(conf->>'text') > 2000000").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_comes_back_without_its_runs_loses_them_here_too() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let pipeline = provider.pipelines.lock().unwrap().remove(4);
    provider.runs.lock().unwrap().retain(|run| run.pipeline_external_id != "e");
    provider.task_runs.lock().unwrap().retain(|task_run| task_run.pipeline_external_id != "e");
    test.sync(&provider, false).await.unwrap();
    test.sync(&provider, false).await.unwrap();
    provider.pipelines.lock().unwrap().push(pipeline);
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 12);
    assert_eq!(test.number("select count(*) from task_runs where deleted_at is null").await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_stops_and_says_so_until_it_is_accepted() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.pipelines.lock().unwrap().clear();
    for _ in 0..3 {
        let refused = test.sync(&provider, true).await.unwrap_err();
        assert!(matches!(refused, SyncError::MassDeletion { missing: 5, total: 5 }), "{refused}");
    }
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 5);
    test.enqueue_sync(true, true).await;
    let job = test.claim().await;
    let accepted = test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(accepted.report.pipelines_deactivated, 5);
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_finds_what_was_deleted() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.runs.lock().unwrap().retain(|run| run.external_id != "r2");
    provider.task_runs.lock().unwrap().retain(|task| task.run_external_id != "r2" && task.task_id != "t2");
    let full = test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 10);
    assert_eq!(test.number("select count(*) from task_runs where deleted_at is null").await, 10);
    assert_eq!(full.report.events_published, 5 + 10 + 10);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_moves_nothing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let late = test.enqueue_and_claim(false).await;
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
    test.sync(&provider, false).await.unwrap();
    let cursor = test.number("select extract(epoch from cursor_at)::int8 from connector_state").await;
    assert!(matches!(test.sync_job(&provider, &late).await, Err(SyncError::LeaseLost)));
    assert_eq!(test.number("select extract(epoch from cursor_at)::int8 from connector_state").await, cursor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_run_names_its_user_even_when_it_is_seen_here_first() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    sqlx::query(
        "with ada as (insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada') returning id)
         insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             command_sha256, attempt_until)
         select gen_random_uuid(), c.space_id, c.id, $1, ada.id, 'r2', $2, '', now() from ada, connectors c",
    )
    .bind(contract::ids::PipelineId::of(test.connector, "a"))
    .bind(contract::ids::RunId::of(test.connector, "a", "r2"))
    .execute(&test.pool)
    .await
    .unwrap();
    test.sync(&provider, false).await.unwrap();
    assert_eq!(
        test.number("select count(*) from runs where triggered_by_name = 'Ada' and external_id = 'r2'").await,
        1
    );
    assert_eq!(test.number("select count(*) from runs where triggered_by_name is not null").await, 1);
}
