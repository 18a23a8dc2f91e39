//! Rows that the source cannot return: a poll reads all others, names them, and moves on.

use contract::state::EntityKind;
use testkit::{FakeAirflow, FakeList, ListBehavior};
use worker::sync::SyncError;

use crate::test_worker::TestWorker;

const CURSOR: &str = "select (extract(epoch from cursor_at) * 1000000)::bigint from connector_state";
const WITNESS: &str = "select count(*) from runs where external_id = 'witness'";
const POISONED: &str = "select count(*) from runs where external_id = 'poisoned' and deleted_at is null";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_its_page_delays_no_other_run_and_not_the_cursor() {
    let test = TestWorker::start().await;
    let fake = FakeAirflow::start(3).await;
    test.set_base_url(&fake.url).await;
    test.run_sync(false).await.unwrap();
    test.execute("update connector_state set cursor_at = now() - interval '1 hour'").await;
    let before = test.number(CURSOR).await;
    fake.add_changed_run("poisoned");
    fake.set_failing_runs(&["poisoned"]);
    fake.add_changed_run("witness");
    let report = test.run_sync(false).await.unwrap().report;
    let [entry] = &report.unreadable[..] else { panic!("{report:?}") };
    assert_eq!((entry.what, entry.id.as_str()), (EntityKind::Run, "unknown"));
    assert_eq!((test.number(WITNESS).await, test.number(POISONED).await), (1, 0));
    assert!(test.number(CURSOR).await > before);
    // Its history has the rest, too.
    let report = test.run_sync(true).await.unwrap().report;
    assert!(report.unreadable.iter().any(|entry| entry.id == "dag_0000/unknown"), "{report:?}");
    fake.set_failing_runs(&[]);
    assert_eq!(test.run_sync(true).await.unwrap().report.unreadable_count, 0);
    assert_eq!(test.number(POISONED).await, 1);
    // A known run that fails is neither deleted nor a reason to fail.
    fake.set_failing_runs(&["poisoned"]);
    let report = test.run_sync(true).await.unwrap().report;
    assert!(report.unreadable.iter().any(|entry| entry.id == "dag_0000/poisoned"), "{report:?}");
    assert_eq!(test.number(POISONED).await, 1);
}

/// As a gateway answers whose rule for these paths is wrong, in the form of Airflow's own errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_whose_histories_all_answer_the_404_of_a_proxy_fails() {
    let test = TestWorker::start().await;
    let fake = FakeAirflow::start(3).await;
    test.set_base_url(&fake.url).await;
    test.run_sync(false).await.unwrap();
    fake.set_list_behavior(FakeList::Histories, ListBehavior::Reject(404));
    let error = test.run_sync(true).await.unwrap_err();
    assert!(matches!(error, SyncError::Unreadable { count: 3, of: 3, .. }), "{error}");
    assert_eq!(test.number("select count(*) from runs where deleted_at is null").await, 3);
    fake.set_list_behavior(FakeList::Histories, ListBehavior::Answer);
    test.run_sync(true).await.unwrap();
}
