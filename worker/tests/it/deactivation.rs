//! Which pipelines are deactivated: few at once, only those that are gone, and without holding back the rest
//! of the sync.

use contract::state::RunState;
use testkit::FakeProvider;
use worker::sync::SyncError;

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

const ACTIVE: &str = "select count(*) from pipelines where is_active and deleted_at is null";

/// Removes the pipelines from the provider, with their runs if they go too.
fn remove(provider: &FakeProvider, names: &[&str]) {
    provider.pipelines.lock().unwrap().retain(|known| !names.contains(&known.external_id.as_str()));
    provider.runs.lock().unwrap().retain(|run| !names.contains(&run.pipeline_external_id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_stops_only_the_deactivation() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let clock = "select extract(epoch from confirmed_at)::bigint * 1000000 from connector_state";
    let confirmed = test.number(clock).await;
    remove(&provider, &["c", "d", "e"]);
    test.execute(
        "update connector_state set confirmed_at = now() - interval '1 day',
                      cursor_at = now() - interval '1 day'",
    )
    .await;
    provider.runs.lock().unwrap().push(test.run("a", "new", 0, RunState::Success));
    *provider.changed.lock().unwrap() = true;
    for _ in 0..3 {
        let error = test.sync(&provider, false).await.unwrap_err();
        assert!(matches!(error, SyncError::MassDeletion { missing: 3, total: 5 }), "{error}");
    }
    assert_eq!(test.number(ACTIVE).await, 5);
    assert_eq!(test.number("select count(*) from runs where external_id = 'new'").await, 1);
    assert!(test.number(clock).await >= confirmed, "the other rows are confirmed");
    let moved = "select count(*) from connector_state where cursor_at > now() - interval '1 minute'
                     and failures = 0";
    assert_eq!(test.number(moved).await, 1);
    let named = "select count(*) from syncs where status = 'failed' and error like '%gone at once%'";
    assert_eq!(test.number(named).await, 3);
}

/// Sources keep pipelines for years that are not active any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_is_measured_by_the_active_pipelines() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let old: Vec<String> = (0..20).map(|number| format!("old{number}")).collect();
    for name in &old {
        let mut pipeline = test.pipeline(name, 0);
        pipeline.is_active = false;
        provider.pipelines.lock().unwrap().push(pipeline);
    }
    test.sync(&provider, false).await.unwrap();
    remove(&provider, &["c", "d", "e"]);
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(matches!(error, SyncError::MassDeletion { missing: 3, total: 5 }), "{error}");
    remove(&provider, &Vec::from_iter(old.iter().map(String::as_str)));
    let pipelines = ["c", "d", "e"].map(|name| test.pipeline(name, 0));
    provider.pipelines.lock().unwrap().extend(pipelines);
    for _ in 0..2 {
        test.sync(&provider, false).await.unwrap();
    }
    let deleted = "select count(*) from pipelines where deleted_at is not null";
    assert_eq!((test.number(ACTIVE).await, test.number(deleted).await), (5, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_or_two_deletions_are_no_mass_deletion() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    remove(&provider, &["d", "e"]);
    for _ in 0..2 {
        test.sync(&provider, false).await.unwrap();
    }
    assert_eq!(test.number(ACTIVE).await, 3);
}

/// As many as would be a mass deletion.
#[tokio::test(flavor = "multi_thread")]
async fn pipelines_whose_rows_cannot_be_read_are_not_missing() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    provider.unreadable_pipelines.lock().unwrap().extend(["c", "d", "e"].map(str::to_owned));
    for _ in 0..3 {
        let report = test.sync(&provider, false).await.unwrap().report;
        assert_eq!((report.unreadable_count, report.pipelines_deactivated), (3, 0));
    }
    remove(&provider, &["a"]);
    for _ in 0..2 {
        test.sync(&provider, false).await.unwrap();
    }
    assert_eq!(test.number(ACTIVE).await, 4, "the one that is gone is found all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pipelines_that_turn_stale_at_once_stay_active() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    for pipeline in &mut provider.pipelines.lock().unwrap()[..3] {
        (pipeline.is_active, pipeline.description) = (false, Some("stale".to_owned()));
    }
    let error = test.sync(&provider, false).await.unwrap_err();
    assert!(matches!(error, SyncError::MassDeletion { missing: 3, total: 5 }), "{error}");
    assert_eq!(test.number(ACTIVE).await, 5);
    let described = "select count(*) from pipelines where description = 'stale'";
    assert_eq!(test.number(described).await, 3, "the rest of them is mirrored");
    provider.pipelines.lock().unwrap()[0].is_active = true;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(ACTIVE).await, 3, "two are no mass deletion");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_with_a_running_run_is_not_gone() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    remove(&provider, &["e"]);
    provider.runs.lock().unwrap().push(test.run("e", "live", 0, RunState::Running));
    for _ in 0..3 {
        test.sync(&provider, false).await.unwrap();
    }
    assert_eq!(test.number(ACTIVE).await, 5);
    remove(&provider, &["e"]);
    for _ in 0..2 {
        test.sync(&provider, false).await.unwrap();
    }
    assert_eq!(test.number(ACTIVE).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_without_permission_are_requested_with_growing_pauses() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    for number in 0..15 {
        provider.pipelines.lock().unwrap().push(test.pipeline(&format!("p{number}"), 0));
    }
    test.sync(&provider, false).await.unwrap();
    provider.forbidden.lock().unwrap().extend(["c", "d", "e"].map(str::to_owned));
    for expected in [0, 3, 0, 0] {
        test.sync(&provider, false).await.unwrap();
        assert_eq!(provider.take_presence_requests(), expected);
    }
    test.execute("update pipeline_crawls set tried_at = now() - interval '90 seconds'").await;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_presence_requests(), 3, "the first pause is a minute");
    test.execute("update pipeline_crawls set tried_at = now() - interval '90 seconds'").await;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(provider.take_presence_requests(), 0, "the second one is longer");
    assert_eq!(test.number(ACTIVE).await, 20);
}

const IS_E_ACTIVE: &str = "select count(*) from pipelines where external_id = 'e' and is_active";

/// Adds the report of a sync to the number of events and of reports that name the pipeline.
async fn sync_and_count(test: &TestWorker, provider: &FakeProvider, counts: &mut (u64, usize)) {
    let report = test.sync(provider, false).await.unwrap().report;
    counts.0 += report.events_published;
    counts.1 += report.unreadable.iter().filter(|entry| entry.id == "e").count();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_turns_stale_again_and_again_causes_few_events_and_one_warning() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let mut counts = (0, 0);
    for _ in 0..8 {
        for is_active in [false, true] {
            provider.pipelines.lock().unwrap()[4].is_active = is_active;
            sync_and_count(&test, &provider, &mut counts).await;
        }
    }
    assert_eq!(counts, (6, 1), "three deactivations and three activations");
    provider.pipelines.lock().unwrap()[4].is_active = false;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(IS_E_ACTIVE).await, 1);
    test.execute(
        "update pipeline_crawls set kept_active_since = now() - interval '61 minutes'
                  where kept_active_since is not null",
    )
    .await;
    test.sync(&provider, false).await.unwrap();
    assert_eq!(test.number(IS_E_ACTIVE).await, 0, "it has been stale for an hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_vanishes_again_and_again_causes_few_events_and_one_warning() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    test.sync(&provider, false).await.unwrap();
    let pipeline = provider.pipelines.lock().unwrap()[4].clone();
    let mut counts = (0, 0);
    for _ in 0..6 {
        provider.pipelines.lock().unwrap().pop();
        sync_and_count(&test, &provider, &mut counts).await;
        sync_and_count(&test, &provider, &mut counts).await;
        provider.pipelines.lock().unwrap().push(pipeline.clone());
        sync_and_count(&test, &provider, &mut counts).await;
    }
    assert_eq!(counts, (6, 1), "three deactivations and three activations");
    assert_eq!(test.number(IS_E_ACTIVE).await, 1);
}
