//! Syncs with a fake provider: no change is missed, no event is published twice, and nothing is deleted by
//! mistake.

use chrono::TimeDelta;
use contract::events::{RunConf, SyncReport, Topic, UnreadableEntry};
use contract::state::{EntityKind, RunState, TaskState};
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::FakeProvider;
use worker::sync::SyncError;

use crate::histories::END_PAUSES;
use crate::test_worker::TestWorker;

/// Five pipelines with three runs of two tasks each.
pub(crate) fn small_provider(test: &TestWorker) -> FakeProvider {
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
async fn a_first_sync_publishes_everything_and_an_idle_one_nothing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let first = test.sync(&provider, false).await.unwrap();
    assert_eq!(first.report.events_published, 5 + 15 + 30);
    // Readable at once: the sync ends when its last event is projected.
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
async fn the_next_sync_repairs_a_failure_at_any_request() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let mut failing_request = 1;
    loop {
        provider.fail_from(Some(failing_request));
        match test.sync(&provider, false).await {
            Err(SyncError::Provider(_) | SyncError::Unreadable { .. } | SyncError::UnreadList { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(synced) if synced.report.unreadable_count == 0 => break,
            Ok(_) => {}
        }
        test.execute(END_PAUSES).await;
        failing_request += 1;
        // A failed sync deactivates no pipeline.
        assert_eq!(test.number("select count(*) from pipelines where not is_active").await, 0);
    }
    assert!(failing_request > 5);
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 15);
    assert_eq!(test.number("select count(*) from task_runs where deleted_at is null").await, 30);
    provider.fail_from(None);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_looks_for_changes_as_far_before_its_cursor_as_is_set() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    for (set, overlap) in [(None, 30), (Some(600), 600)] {
        let mut job = test.enqueue_and_claim(false).await;
        job.overlap = set.map_or(job.overlap, TimeDelta::seconds);
        let since = job.cursors.unwrap().runs - TimeDelta::seconds(overlap);
        provider.changes_since.lock().unwrap().clear();
        test.sync_job(&provider, &job).await.unwrap();
        assert_eq!(*provider.changes_since.lock().unwrap(), [since, since], "runs and task runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_run_is_read_even_if_no_list_contains_it() {
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
async fn the_placeholder_of_an_expanded_task_is_deleted() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "mapped", -1, TaskState::Pending));
    test.sync(&provider, false).await.unwrap();
    let last = provider.task_runs.lock().unwrap().len() - 1;
    provider.task_runs.lock().unwrap()[last] = test.task_run("a", "r1", "mapped", 0, TaskState::Running);
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    let expanded =
        "select count(*) from task_runs where task_id = 'mapped' and deleted_at is null and map_index = 0";
    assert_eq!(test.number(expanded).await, 1);
    let placeholder = "select count(*) from task_runs where task_id = 'mapped' and deleted_at is not null and
                        map_index = -1";
    assert_eq!(test.number(placeholder).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_run_that_was_removed_before_its_task_was_mapped_is_kept() {
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
async fn a_task_run_outside_the_graph_refreshes_the_graph() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    *provider.tasks.lock().unwrap() = vec!["t1", "t2"];
    test.sync(&provider, false).await.unwrap();
    let with_new_task = "select count(*) from pipelines where tasks @> '[{\"task_id\": \"new\"}]'";
    provider.tasks.lock().unwrap().push("new");
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(with_new_task).await, 0, "no task run of the new task was listed");
    provider.task_runs.lock().unwrap().push(test.task_run("a", "r1", "new", -1, TaskState::Running));
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(with_new_task).await, 1);
    let idle = test.sync(&provider, false).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_graph_is_refreshed_with_its_history() {
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
    let with_one_task =
        "select count(*) from pipelines where jsonb_array_length(tasks) = 1 and external_id = 'a'";
    assert_eq!(test.number(with_one_task).await, 1);
    assert_eq!(test.number("select count(*) from pipelines where jsonb_array_length(tasks) = 2").await, 4);
}

/// Rows that cannot be read are named in the sync, which succeeds, and are not taken for deleted.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_are_named_and_nothing_is_deleted_for_them() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let before = test.read_model().await;
    provider.unreadable_tasks.lock().unwrap().insert("t1".to_owned());
    let SyncReport { unreadable, unreadable_count, events_published, .. } =
        test.sync(&provider, true).await.unwrap().report;
    assert_eq!((unreadable_count, unreadable.len(), events_published), (15, 15, 0));
    assert_eq!(
        (unreadable[0].what, unreadable[0].reason.as_str()),
        (EntityKind::TaskRun, "map_index is odd")
    );
    assert_eq!(test.read_model().await, before, "nothing is deleted");
    provider.unreadable_tasks.lock().unwrap().clear();
    let healed = test.sync(&provider, true).await.unwrap();
    assert_eq!(healed.report.unreadable_count, 0);
    assert_eq!(test.read_model().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_deactivated_after_two_listings_without_it() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.pipelines.lock().unwrap().remove(4);
    let inactive = "select count(*) from pipelines where not is_active and external_id = 'e'";
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(inactive).await, 0);
    let second = test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(inactive).await, 1);
    assert_eq!(second.report.pipelines_deactivated, 1);
    assert_eq!(
        test.number("select count(*) from runs where deleted_at is null").await,
        15,
        "its runs are kept"
    );
    provider.pipelines.lock().unwrap().push(test.pipeline("e", 0));
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(inactive).await, 0, "a listed pipeline is active again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_without_permission_is_kept_and_does_not_fail_the_sync() {
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
        let error = test.sync(&provider, false).await.unwrap_err();
        assert!(matches!(error, SyncError::MassDeletion { missing: 4, total: 5 }), "{error}");
    }
    test.enqueue_sync(true, true).await;
    test.sync_job(&provider, &test.claim().await).await.unwrap();
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 1);
    test.sync(&provider, false).await.unwrap();
}

/// Random text, which cannot be compressed well.
fn random_text(mib: usize) -> String {
    let rng = StdRng::seed_from_u64(1);
    rng.sample_iter(Alphanumeric).take(mib << 20).map(char::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_larger_than_a_kafka_message_does_not_fail_the_sync() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let set_conf =
        |conf: String| provider.runs.lock().unwrap()[0].conf = serde_json::json!({ "text": conf }).into();
    // Larger than the producer accepts.
    set_conf("x".repeat(17 << 20));
    let first = test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number("select count(*) from runs").await, 14);
    assert_eq!(first.report.events_published, 5 + 14 + 30);
    let [UnreadableEntry { what, id, reason }] = &first.report.unreadable[..] else { panic!("{first:?}") };
    assert_eq!((*what, id.as_str()), (EntityKind::Run, "a/r1"));
    assert!(reason.contains("larger than Kafka takes"), "{reason}");
    // Larger than the topic accepts: the broker rejects this event, and accepts the others.
    set_conf(random_text(13));
    provider.runs.lock().unwrap()[1].status = RunState::Failed;
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from runs").await, 14);
    assert_eq!(test.number("select count(*) from runs where status = 'failed'").await, 1);
    // A few megabytes are accepted.
    set_conf(random_text(2));
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number("select count(*) from runs where length(conf->>'text') > 2000000").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_a_conf_keep_their_digits() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let conf = r#"{"big":12345678901234567890123,"exact":0.10000000000000000000001,"far":1e+400}"#;
    provider.runs.lock().unwrap()[0].conf = conf.parse().unwrap();
    let run = provider.runs.lock().unwrap()[0].id;
    test.sync(&provider, false).await.unwrap();
    let events = test.events(Topic::Runs, &run.to_string());
    assert_eq!(events[0].1["conf"].to_string(), conf);
    let kept = "select count(*) from runs where conf->>'big' = '12345678901234567890123'
        and conf->>'exact' = '0.10000000000000000000001' and conf->'far' = '1e400'";
    assert_eq!(test.number(kept).await, 1);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
    // It is deleted as it was seen.
    provider.runs.lock().unwrap().remove(0);
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number(kept).await, 1);
    assert_eq!(test.number("select count(*) from runs where deleted_at is not null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conf_that_was_left_out_stays_marked() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let mut run = test.run("a", "r1", 0, RunState::Success);
    (run.conf, run.conf_bytes, run.truncated) = (RunConf::default(), Some(9_000_000), true);
    provider.runs.lock().unwrap()[0] = run;
    test.sync(&provider, false).await.unwrap();
    let marked = "select count(*) from runs where conf = 'null' and conf_bytes = 9000000";
    assert_eq!(test.number(marked).await, 1);
    let idle = test.sync(&provider, true).await.unwrap();
    assert_eq!(idle.report.events_published, 0);
    // It is deleted as it was seen.
    provider.runs.lock().unwrap().remove(0);
    test.sync(&provider, true).await.unwrap();
    assert_eq!(test.number(marked).await, 1);
    assert_eq!(test.number("select count(*) from runs where deleted_at is not null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_returns_without_its_runs_has_them_deleted() {
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
async fn a_mass_deletion_fails_the_sync_until_it_is_accepted() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.pipelines.lock().unwrap().clear();
    for _ in 0..3 {
        let error = test.sync(&provider, true).await.unwrap_err();
        assert!(matches!(error, SyncError::MassDeletion { missing: 5, total: 5 }), "{error}");
    }
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 5);
    test.enqueue_sync(true, true).await;
    let job = test.claim().await;
    let accepted = test.sync_job(&provider, &job).await.unwrap();
    assert_eq!(accepted.report.pipelines_deactivated, 5);
    assert_eq!(test.number("select count(*) from pipelines where is_active").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_deletes_missing_runs_and_task_runs() {
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
async fn a_worker_without_the_lease_moves_no_cursor() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let expired = test.enqueue_and_claim(false).await;
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
    test.sync(&provider, false).await.unwrap();
    let cursor = test.number("select extract(epoch from cursor_at)::int8 from connector_state").await;
    assert!(matches!(test.sync_job(&provider, &expired).await, Err(SyncError::LeaseLost)));
    assert_eq!(test.number("select extract(epoch from cursor_at)::int8 from connector_state").await, cursor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_run_has_its_user_even_if_a_sync_publishes_it_first() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    sqlx::query(
        "with ada as (insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org',
         'Ada') returning id)
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
