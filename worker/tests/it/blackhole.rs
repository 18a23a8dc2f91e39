//! PostgreSQL stops responding during a statement: every call ends by the client's timeout, and the worker
//! continues once a server responds again.

use std::time::Duration;

use contract::state::RunState;
use futures::future::join_all;
use platform::db::{self, DatabaseConfig};
use platform::health::Heartbeat;
use sqlx::PgPool;
use testkit::{BlackholeProxy, FakeAirflow};
use tokio::sync::watch;
use tokio::time::timeout;
use worker::sync::SyncError;

use crate::test_worker::TestWorker;

/// The documented maximum time until the worker continues after PostgreSQL responds again.
const BOUND: Duration = Duration::from_secs(60);

async fn proxied_pool(connections: u32) -> (BlackholeProxy, PgPool) {
    let database = local::test_database().await.unwrap();
    let proxy = BlackholeProxy::start(&database.url).await;
    let config = DatabaseConfig {
        database_url: proxy.url.clone().into(),
        database_connections: connections,
        statement_timeout: 2,
    };
    (proxy, db::pool(&config, "test").unwrap())
}

/// Executes a statement on both connections, whose responses the proxy drops. Both are open before that.
async fn execute_without_response(proxy: &BlackholeProxy, pool: &PgPool, statement: &'static str) {
    let connections = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let executed = connections.map(async |mut db| {
        let executed = sqlx::raw_sql(statement).execute(&mut *db);
        assert!(timeout(BOUND, executed).await.expect("the call ends").is_err(), "{statement}");
    });
    let block = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.block();
    };
    tokio::join!(join_all(executed), block);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_and_its_connection_is_replaced_when_postgres_stops_responding() {
    let (proxy, pool) = proxied_pool(2).await;
    for statement in [
        "select pg_sleep(1)",
        "begin; select pg_sleep(1)",
        // Blocked in the middle of a response.
        "select repeat('x', 1000) from generate_series(1, 100000000)",
    ] {
        execute_without_response(&proxy, &pool, statement).await;
        proxy.open();
        let response = timeout(BOUND, async {
            loop {
                match sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await {
                    Ok(number) => break number,
                    Err(error) => println!("not yet: {error}"),
                }
            }
        });
        assert_eq!(response.await, Ok(1), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_an_outstanding_response_stays_open() {
    let (_proxy, pool) = proxied_pool(1).await;
    let mut db = pool.acquire().await.unwrap();
    let backend = async |db: &mut sqlx::PgConnection| {
        sqlx::query_scalar::<_, i32>("select pg_backend_pid()").fetch_one(db).await.unwrap()
    };
    let before = backend(&mut db).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(backend(&mut db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn projection_and_leases_continue_after_postgres_stopped_responding() {
    let test = TestWorker::idle().await;
    let proxy = BlackholeProxy::start(&test.settings.database_url).await;
    let worker = test.open_worker(&proxy.url, &["--statement-timeout", "5"]);
    worker.start_projecting();
    worker.start_relay();
    let runner = worker.tasks.spawn(worker.runner.clone().run(4, Heartbeat::default()));
    test.send(&[test.run("sales", "before", 1, RunState::Success)]).await;
    test.wait_for("select count(*) = 1 from runs").await;

    let mut lock = test.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table runs in access exclusive mode").execute(&mut *lock).await.unwrap();
    test.send(&[test.run("sales", "during", 2, RunState::Success)]).await;
    test.wait_for(
        "select count(*) > 0 from pg_locks l join pg_database d on d.oid = l.database
         where not granted and datname = current_database()",
    )
    .await;
    proxy.block();
    lock.rollback().await.unwrap();
    let sync = test.enqueue_sync(false, false).await;
    proxy.open();
    test.wait_for_within(BOUND, "select count(*) = 2 from runs").await;
    let finished = format!("select finished_at is not null from syncs where id = '{sync}'");
    test.wait_for_within(BOUND, &finished).await;
    test.wait_for_within(BOUND, "select count(*) = 0 from outbox").await;
    worker.runner.stop.cancel();
    timeout(BOUND, runner).await.expect("the runner stops").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_lease_cannot_be_renewed_goes_back_to_the_queue() {
    let test = TestWorker::idle().await;
    let airflow = FakeAirflow::start_slow(1, Duration::from_secs(25)).await;
    test.set_base_url(&format!("{}/slow", airflow.url)).await;
    let sync = test.enqueue_sync(false, false).await;
    let (runner, connector) = (test.worker.runner.clone(), test.connector);
    let progress = watch::Sender::default();
    let running = tokio::spawn(async move { runner.run_next(Some(connector), &progress).await });
    test.wait_for("select count(*) = 1 from syncs where status = 'running'").await;
    let mut lock = test.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table connector_state in exclusive mode").execute(&mut *lock).await.unwrap();
    // Longer than a lease, and shorter than a page of the source takes.
    tokio::time::sleep(Duration::from_secs(20)).await;
    lock.rollback().await.unwrap();
    let outcome = timeout(BOUND, running).await.expect("the sync ends").unwrap().unwrap().unwrap();
    assert!(matches!(outcome, Err(SyncError::DatabaseUnresponsive { .. })), "{outcome:?}");
    let queued: (String, Option<String>, i32) =
        sqlx::query_as("select status, error, attempts from syncs where id = $1")
            .bind(sync)
            .fetch_one(&test.pool)
            .await
            .unwrap();
    assert_eq!(queued, ("queued".to_owned(), None, 0));
}
