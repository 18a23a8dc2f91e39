//! Leases, schedules, projection and outbox have connections that syncs cannot use up, and ticks do not
//! overlap.

use std::time::Duration;

use contract::state::RunState;
use platform::health::Heartbeat;

use crate::test_worker::TestWorker;

const BOUND: Duration = Duration::from_secs(60);
/// How many statements wait for a lock in the test's database.
const WAITING: &str = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
    where not granted and datname = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn control_work_continues_while_syncs_hold_all_of_their_connections() {
    let test = TestWorker::idle().await;
    let worker = test.open_worker(&test.settings.database_url, &["--database-connections", "2"]);
    let pool = worker.runner.pool.clone();
    let _held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    worker.start_projecting();
    worker.start_relay();
    worker.tasks.spawn(worker.runner.clone().run(4, Heartbeat::default()));
    let _ticker = worker.start_ticker().await.unwrap();
    test.send(&[test.run("sales", "r1", 1, RunState::Success)]).await;
    test.wait_for_within(BOUND, "select count(*) = 1 from runs").await;
    // Ticks, claims and the ends of syncs: this one got no connection.
    test.execute("update connector_state set next_due_at = now()").await;
    test.wait_for_within(
        BOUND,
        "select count(*) > 0 from syncs where trigger = 'schedule' and status = 'failed'
             and error like 'PostgreSQL did not answer%'",
    )
    .await;
    test.wait_for_within(BOUND, "select count(*) = 0 from outbox").await;
    worker.runner.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_does_not_begin_before_the_last_one_has_ended() {
    let test = TestWorker::idle().await;
    let mut lock = test.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table connector_state in access exclusive mode").execute(&mut *lock).await.unwrap();
    let _ticker = test.worker.start_ticker().await.unwrap();
    testkit::eventually("a tick waits", BOUND, async || test.number(WAITING).await > 0).await;
    for _ in 0..35 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(test.number(WAITING).await, 1, "ticks that wait");
    }
    lock.rollback().await.unwrap();
    test.execute("update connector_state set next_due_at = now()").await;
    test.wait_for_within(BOUND, "select count(*) > 0 from syncs where trigger = 'schedule'").await;
}
