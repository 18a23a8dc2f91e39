//! Rows that the source cannot return: a poll reads all others, names them, and moves on.

use contract::state::EntityKind;
use testkit::FakeAirflow;

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
