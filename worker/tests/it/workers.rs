//! Several workers on one database: every tick is taken once, and a source that hangs keeps nobody waiting.

use std::time::Duration;

use serde_json::json;
use testkit::{FakeAirflow, WorkerProcess};
use tokio::net::TcpListener;

use crate::test_worker::TestWorker;

const CONNECTORS: i32 = 1_000;
/// However slow the machine is.
const LONG: Duration = Duration::from_secs(600);

/// Makes connectors, each with a server of its own below this address and no tick to come by itself.
async fn make_connectors(test: &TestWorker, url: &str, many: i32) {
    sqlx::query(
        "with made as (
             insert into connectors (id, space_id, name, connector_type, config, credentials_public)
             select gen_random_uuid(), spaces.id, 'light ' || number, 'airflow',
                 $1 || jsonb_build_object('base_url', $2 || '/' || number), '{\"auth_type\": \"none\"}'
             from spaces, generate_series(1, $3) number returning id)
         insert into connector_state (connector_id) select id from made",
    )
    .bind(json!({"schedule": "0 0 0 1 1 *", "history_days": 1}))
    .bind(url)
    .bind(many)
    .execute(&test.pool)
    .await
    .unwrap();
}

/// Notes every step back of an epoch or a cursor.
async fn watch_steps_back(test: &TestWorker) {
    test.execute("create table steps_back (connector_id uuid);
         create function note_step_back() returns trigger language plpgsql as $$
         begin
             if new.lease_epoch < old.lease_epoch or new.cursor_at < old.cursor_at then
                 insert into steps_back values (new.connector_id);
             end if;
             return new;
         end $$;
         create trigger steps_back before update on connector_state for each row execute function note_step_back()").await;
}

/// A slow machine fails no test: what this says is for the benchmark to judge.
async fn tell_lateness(test: &TestWorker) {
    let (claimed, begun): (f64, f64) = sqlx::query_as(
        "select percentile_cont(0.99) within group (order by extract(epoch from requested_at - tick_at)),
             percentile_cont(0.99) within group (order by extract(epoch from started_at - tick_at))
         from syncs where tick_at is not null",
    )
    .fetch_one(&test.pool)
    .await
    .unwrap();
    println!("99 of 100 ticks were taken within {claimed:.2} s, and their syncs began within {begun:.2} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_take_every_tick_of_a_thousand_connectors_once() {
    let test = TestWorker::idle().await;
    let light = FakeAirflow::start(0).await;
    make_connectors(&test, &light.url, CONNECTORS).await;
    watch_steps_back(&test).await;
    let _workers = [
        WorkerProcess::start(&test.settings, &[]).await,
        WorkerProcess::start(&test.settings, &[]).await,
        WorkerProcess::start(&test.settings, &[]).await,
    ];
    for round in 1..=2 {
        test.execute(
            "update connector_state set next_due_at = date_trunc('second', now()) + interval '2 seconds'
             from connectors c where c.id = connector_id and c.name like 'light %'",
        )
        .await;
        let all_due =
            "select count(*) = 0 from connector_state where next_due_at < now() + interval '1 hour'";
        test.wait_for_within(LONG, all_due).await;
        test.wait_for_within(LONG, "select count(*) = 0 from syncs where status in ('queued', 'running')")
            .await;
        let made: Vec<(String, i64, i64)> = sqlx::query_as(
            "select substring(name from 7), count(*), sum(attempts)
             from syncs s join connectors c on c.id = connector_id
             where s.trigger = 'schedule' group by name",
        )
        .fetch_all(&test.pool)
        .await
        .unwrap();
        assert_eq!(made.len(), CONNECTORS as usize, "no tick is lost");
        let polls = light.polls();
        for (server, made, begun) in made {
            assert_eq!(made, round, "no tick is made twice");
            assert!(polls.get(&server).is_none_or(|polls| *polls as i64 <= begun), "nor polled twice");
        }
    }
    tell_lateness(&test).await;
    assert_eq!(test.number("select sum(missed_ticks)::bigint from connector_state").await, 0);
    assert_eq!(test.number("select count(*) from steps_back").await, 0);
    let takers = "select count(distinct lease_owner) from connector_state where lease_owner is not null";
    assert!(test.number(takers).await > 1, "they share the work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_every_two_seconds_loses_no_tick_uncounted() {
    let test = TestWorker::idle().await;
    let light = FakeAirflow::start(1).await;
    make_connectors(&test, &light.url, 5).await;
    test.execute("update connectors set config = config || '{\"schedule\": \"*/2 * * * * *\"}' where name like 'light %'").await;
    let _workers =
        [WorkerProcess::start(&test.settings, &[]).await, WorkerProcess::start(&test.settings, &[]).await];
    test.execute(
        "update connector_state set next_due_at = to_timestamp(ceil(extract(epoch from now()) / 2) * 2)
         from connectors c where c.id = connector_id and c.name like 'light %'",
    )
    .await;
    test.wait_for("select count(*) = 5 from (select from syncs where status = 'succeeded' group by connector_id having count(*) >= 4) often").await;
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
    for (made, missed, passed) in ticks {
        assert_eq!(
            (made + missed) as f64,
            passed,
            "every second second is a sync or counted: {made}, {missed}"
        );
    }
}

/// A server that takes every connection and never says a word.
async fn mute() -> String {
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
async fn more_sources_that_hang_than_there_are_places_keep_nobody_waiting() {
    let test = TestWorker::idle().await;
    let light = FakeAirflow::start(1).await;
    make_connectors(&test, &mute().await, 8).await;
    let _worker = WorkerProcess::start(&test.settings, &["--syncs-at-once", "2"]).await;
    let hang = "update connector_state set next_due_at = now(), retry_at = null
                from connectors c where c.id = connector_id and c.config->>'schedule' like '0 0%'";
    let all_hang = async {
        // Each gives up after half a minute, so that on a slow machine they may not hang at once the first time.
        while test.number("select count(*) from syncs where status = 'running'").await < 8 {
            test.execute(hang).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all_hang).await.expect("all of them hang at once");
    test.set_base_url(&format!("{}/healthy", light.url)).await;
    let asked = test.enqueue_sync(false, false).await;
    let served = async {
        let status = "select status from syncs where id = $1";
        while sqlx::query_scalar::<_, String>(status).bind(asked).fetch_one(&test.pool).await.unwrap()
            != "succeeded"
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), served).await.expect("the healthy one is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_of_five_hundred_pipelines_asks_nine_times_and_leaves_everything_as_it_is() {
    let test = TestWorker::start().await;
    let light = FakeAirflow::start(500).await;
    test.set_base_url(&format!("{}/large", light.url)).await;
    test.execute("update connectors set config = config || '{\"max_requests_per_second\": 1000}'").await;
    let first = test.run_sync(false).await.unwrap();
    assert_eq!(first.report.events_published, 500 + 500 + 500);
    let written = "select max(xmin::text::bigint) from (
        select xmin from pipelines union all select xmin from runs union all select xmin from task_runs) rows";
    let (published, last_write) = (test.published_records(), test.number(written).await);
    for _ in 0..2 {
        let idle = test.run_sync(false).await.unwrap();
        assert!(idle.report.requests <= 9, "{:?}", idle.report);
        assert_eq!((idle.report.pipelines_seen, idle.report.events_published), (500, 0));
    }
    assert_eq!(test.published_records(), published);
    assert_eq!(test.number(written).await, last_write, "no row is rewritten");
}
