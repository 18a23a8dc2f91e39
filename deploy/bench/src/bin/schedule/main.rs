//! How late the syncs of a thousand connectors start that are all due at the same second, with three workers.
//! `cargo local bench schedule` runs it and prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;
use testkit::{FakeAirflow, ProgramSettings, WorkerProcess};
use uuid::Uuid;

const CONNECTORS: i32 = 1_000;
const WORKERS: usize = 3;
/// The first round opens every provider, and is left out of the table.
const ROUNDS: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let admin = local::postgres_instance("postgres-bench").await?;
    let name = Uuid::new_v4().simple().to_string();
    let url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
    let db = PgPool::connect(&url).await?;
    platform::db::migrate(&db).await?;
    // An Airflow without DAGs, so that only the schedule is measured.
    let airflow = FakeAirflow::start(0).await;
    create_connectors(&db, &airflow.url).await;
    let settings = ProgramSettings {
        database_url: url,
        kafka: orchestration_bench::kafka(&name).await?,
        sealing_keys: testkit::sealing_keys("a"),
    };
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let mut worker = settings.worker(&["run", "--metrics-listen", "127.0.0.1:0"]).await;
        workers.push(WorkerProcess::spawn(worker.env("ORCHESTRATION_LOG", "warn")));
    }
    let mut table = format!(
        "\n{CONNECTORS} connectors due at one second, {WORKERS} workers, {} cores, \
         everything on one machine.\n\
         Seconds from the tick until so many syncs were claimed, started and finished.\n\n\
         | round | lost | duplicates | polls | claimed: 50 % | 99 % | all | started: 50 % | 99 % | all \
         | finished: all |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    for round in 0..ROUNDS {
        let row = run_round(&db, &airflow, round).await?;
        if round > 0 {
            table += &row;
        }
    }
    drop(workers);
    local::print(&table);
    Ok(())
}

async fn create_connectors(db: &PgPool, url: &str) {
    testkit::create_space(db, "bench").await;
    let connector = |number| {
        let config = json!({"base_url": format!("{url}/{number}"), "schedule": "0 0 0 1 1 *"});
        (format!("fake {number}"), config)
    };
    let connectors: Vec<_> = (1..=CONNECTORS).map(connector).collect();
    testkit::create_connectors(db, "bench", &connectors).await;
}

/// Waits until the tick was claimed for every connector and no sync is open.
async fn wait_until_finished(db: &PgPool, tick: DateTime<Utc>) -> anyhow::Result<()> {
    let open = "select exists (select from connector_state where next_due_at <= $1)
             or exists (select from syncs where status in ('queued', 'running'))";
    while sqlx::query_scalar::<_, bool>(open).bind(tick).fetch_one(db).await? {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Makes all connectors due at one second, waits until every sync has finished, and returns a row of the
/// table.
async fn run_round(db: &PgPool, airflow: &FakeAirflow, round: usize) -> anyhow::Result<String> {
    let polls = || airflow.polls().into_values().sum::<usize>();
    let before = polls();
    // Five seconds: the workers have started, and the syncs of the last round have finished.
    let tick: DateTime<Utc> = sqlx::query_scalar(
        "with due as (update connector_state
             set next_due_at = date_trunc('second', now()) + interval '5 seconds' returning next_due_at)
         select max(next_due_at) from due",
    )
    .fetch_one(db)
    .await?;
    wait_until_finished(db, tick).await?;
    let (inserted, distinct): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct connector_id) from syncs where tick_at = $1")
            .bind(tick)
            .fetch_one(db)
            .await?;
    let late: Vec<f64> = sqlx::query_scalar(
        "select unnest(percentile_cont(array[0.5, 0.99, 1]) within group (order by claimed)
             || percentile_cont(array[0.5, 0.99, 1]) within group (order by started)
             || percentile_cont(array[1.0]) within group (order by finished))
         from (select extract(epoch from requested_at - tick_at)::float8 as claimed,
                   extract(epoch from started_at - tick_at)::float8 as started,
                   extract(epoch from finished_at - tick_at)::float8 as finished
               from syncs where tick_at = $1) late",
    )
    .bind(tick)
    .fetch_all(db)
    .await?;
    let late: Vec<String> = late.iter().map(|late| format!("{late:.2}")).collect();
    let (lost, duplicates) = (i64::from(CONNECTORS) - distinct, inserted - distinct);
    Ok(format!("| {round} | {lost} | {duplicates} | {} | {} |\n", polls() - before, late.join(" | ")))
}
