//! Several workers on one database: every tick is enqueued once, and hanging sources do not delay others.

use std::time::Duration;

use serde_json::json;
use testkit::{FakeAirflow, WorkerProcess};
use tokio::net::TcpListener;

use crate::test_worker::TestWorker;

const CONNECTORS: usize = 1_000;
/// Long enough for a slow machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(600);

/// Creates connectors, each to a server of its own below this address. Their schedule has no tick during the
/// test.
async fn create_connectors(test: &TestWorker, url: &str, count: usize) {
    let connector = |number| {
        let base_url = format!("{url}/{number}");
        let config = json!({"base_url": base_url, "schedule": "0 0 0 1 1 *", "history_days": 1});
        (format!("fake {number}"), config)
    };
    let connectors: Vec<_> = (1..=count).map(connector).collect();
    testkit::create_connectors(&test.pool, "test", &connectors).await;
}

/// Records every decrease of an epoch or a cursor in a table.
async fn record_decreases(test: &TestWorker) {
    test.execute(
        "create table decreases (connector_id uuid);
         create function record_decrease() returns trigger language plpgsql as $$
         begin
             if new.lease_epoch < old.lease_epoch or new.cursor_at < old.cursor_at then
                 insert into decreases values (new.connector_id);
             end if;
             return new;
         end $$;
         create trigger decreases before update on connector_state for each row execute function
         record_decrease()",
    )
    .await;
}

/// Prints how late the syncs were. The test does not depend on it, since a slow machine must not fail a test.
async fn print_delays(test: &TestWorker) {
    let (enqueued, started): (f64, f64) = sqlx::query_as(
        "select percentile_cont(0.99) within group (order by extract(epoch from requested_at - tick_at)),
             percentile_cont(0.99) within group (order by extract(epoch from started_at - tick_at))
         from syncs where tick_at is not null",
    )
    .fetch_one(&test.pool)
    .await
    .unwrap();
    println!("p99 of ticks: enqueued after {enqueued:.2} s, started after {started:.2} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_enqueue_every_tick_of_a_thousand_connectors_once() {
    let test = TestWorker::idle().await;
    let fake = FakeAirflow::start(0).await;
    create_connectors(&test, &fake.url, CONNECTORS).await;
    record_decreases(&test).await;
    let _workers = [
        WorkerProcess::start(&test.settings, &[]).await,
        WorkerProcess::start(&test.settings, &[]).await,
        WorkerProcess::start(&test.settings, &[]).await,
    ];
    for round in 1..=2 {
        test.execute(
            "update connector_state set next_due_at = date_trunc('second', now()) + interval '2 seconds'
             from connectors c where c.id = connector_id and c.name like 'fake %'",
        )
        .await;
        let all_due =
            "select count(*) = 0 from connector_state where next_due_at < now() + interval '1 hour'";
        test.wait_for_within(LONG_TIMEOUT, all_due).await;
        test.wait_for_within(
            LONG_TIMEOUT,
            "select count(*) = 0 from syncs where status in ('queued', 'running')",
        )
        .await;
        assert_one_sync_for_each_tick(&test, &fake, round).await;
    }
    print_delays(&test).await;
    assert_eq!(test.number("select sum(missed_ticks)::bigint from connector_state").await, 0);
    assert_eq!(test.number("select count(*) from decreases").await, 0);
    let lease_owners =
        "select count(distinct lease_owner) from connector_state where lease_owner is not null";
    assert!(test.number(lease_owners).await > 1, "the workers share the syncs");
}

/// Asserts that every connector has one sync for each of so many ticks, and no more polls than started syncs.
async fn assert_one_sync_for_each_tick(test: &TestWorker, fake: &FakeAirflow, ticks: i64) {
    let syncs: Vec<(String, i64, i64)> = sqlx::query_as(
        "select substring(name from 6), count(*), sum(attempts)
         from syncs s join connectors c on c.id = connector_id where s.trigger = 'schedule' group by name",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap();
    assert_eq!(syncs.len(), CONNECTORS, "every connector has a sync");
    let polls = fake.polls();
    for (server, enqueued, started) in syncs {
        assert_eq!(enqueued, ticks, "one sync for each tick");
        let polls = polls.get(&server).map_or(0, |polls| *polls as i64);
        assert!(polls <= started, "{polls} polls for {started} started syncs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tick_of_a_short_schedule_is_a_sync_or_counted_as_missed() {
    let test = TestWorker::idle().await;
    let fake = FakeAirflow::start(1).await;
    create_connectors(&test, &fake.url, 5).await;
    test.execute(
        "update connectors set config = config || '{\"schedule\": \"*/2 * * * * *\"}' where name like
                    'fake %'",
    )
    .await;
    let _workers =
        [WorkerProcess::start(&test.settings, &[]).await, WorkerProcess::start(&test.settings, &[]).await];
    test.execute(
        "update connector_state set next_due_at = to_timestamp(ceil(extract(epoch from now()) / 2) * 2)
         from connectors c where c.id = connector_id and c.name like 'fake %'",
    )
    .await;
    test.wait_for(
        "select count(*) = 5
         from (select from syncs where status = 'succeeded'
               group by connector_id having count(*) >= 4) often",
    )
    .await;
    let ticks: Vec<(i64, i64, f64)> = sqlx::query_as(
        "select made, missed_ticks, (extract(epoch from next_due_at - first) / 2)::float8
         from connector_state state join lateral (
             select count(*) as made, min(tick_at) as first from syncs s
             where s.connector_id = state.connector_id) ticks on made > 0",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap();
    assert_eq!(ticks.len(), 5);
    for (enqueued, missed, passed) in ticks {
        assert_eq!((enqueued + missed) as f64, passed, "{enqueued} syncs and {missed} missed ticks");
    }
}

/// A server that accepts every connection and never responds.
async fn start_hanging_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn more_hanging_sources_than_concurrent_syncs_do_not_delay_others() {
    let test = TestWorker::idle().await;
    let fake = FakeAirflow::start(1).await;
    create_connectors(&test, &start_hanging_server().await, 8).await;
    let _worker = WorkerProcess::start(&test.settings, &["--syncs-at-once", "2"]).await;
    let make_due = "update connector_state set next_due_at = now(), retry_at = null
                from connectors c where c.id = connector_id and c.config->>'schedule' like '0 0%'";
    let all_hang = async {
        // Each sync times out after half a minute, so that on a slow machine not all of them run at the same
        // time.
        while test.number("select count(*) from syncs where status = 'running'").await < 8 {
            test.execute(make_due).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all_hang).await.expect("all of them run at the same time");
    test.set_base_url(&format!("{}/healthy", fake.url)).await;
    let requested = test.enqueue_sync(false, false).await;
    let synced = async {
        let status = "select status from syncs where id = $1";
        while sqlx::query_scalar::<_, String>(status).bind(requested).fetch_one(&test.pool).await.unwrap()
            != "succeeded"
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), synced).await.expect("the healthy connector is synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_of_five_hundred_pipelines_sends_nine_requests_and_writes_no_row() {
    let test = TestWorker::start().await;
    let fake = FakeAirflow::start(500).await;
    test.set_base_url(&format!("{}/large", fake.url)).await;
    test.execute("update connectors set config = config || '{\"max_requests_per_second\": 1000}'").await;
    let first = test.run_sync(false).await.unwrap();
    assert_eq!(first.report.events_published, 500 + 500 + 500);
    let last_written = "select max(xmin::text::bigint) from (
        select xmin from pipelines union all select xmin from runs
        union all select xmin from task_runs) rows";
    let (published, last_write) = (test.published_records(), test.number(last_written).await);
    for _ in 0..2 {
        let idle = test.run_sync(false).await.unwrap();
        assert!(idle.report.requests <= 9, "{:?}", idle.report);
        assert_eq!((idle.report.pipelines_seen, idle.report.events_published), (500, 0));
    }
    assert_eq!(test.published_records(), published);
    assert_eq!(test.number(last_written).await, last_write, "a row was rewritten");
}
