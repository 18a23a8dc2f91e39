//! How late the schedules of a thousand connectors are that are all due at the same second, with three workers.
//! `cargo local bench schedule` runs it and prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

#[path = "../../tests/it/light_airflow.rs"]
mod light_airflow;
#[path = "../process.rs"]
mod process;

use std::time::Duration;

use light_airflow::LightAirflow;
use process::Worker;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

const CONNECTORS: i32 = 1_000;
const WORKERS: usize = 3;
/// The first round opens every provider; what is told is how the later ones went.
const ROUNDS: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let admin = local::postgres_instance("postgres-bench").await?;
    let name = Uuid::new_v4().simple().to_string();
    let url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
    let db = PgPool::connect(&url).await?;
    platform::db::migrate(&db).await?;
    // With nothing in it, so that only the schedule is measured.
    let light = LightAirflow::start(0).await;
    make_connectors(&db, &light.url).await?;
    let kafka = local::kafka().await?;
    let prefix = format!("bench-{name}.");
    let start = || Worker::start(&["run", "--metrics-listen", "127.0.0.1:0"], &url, &kafka, &prefix);
    let workers: Vec<Worker> = (0..WORKERS).map(|_| start()).collect::<Result<_, _>>()?;
    let mut table = format!(
        "\n{CONNECTORS} connectors due at one second, {WORKERS} workers, {} cores, everything on one machine.\n\
         Seconds after the tick until so many of 100 …\n\n\
         | round | lost | twice | polls | taken: 50 | 99 | all | begun: 50 | 99 | all | ended: all |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    for round in 0..ROUNDS {
        let told = run_round(&db, &light, round).await?;
        if round > 0 {
            table += &told;
        }
    }
    drop(workers);
    local::print(&table);
    Ok(())
}

async fn make_connectors(db: &PgPool, url: &str) -> sqlx::Result<()> {
    sqlx::query(
        "with space as (insert into spaces (id, slug, name) values (gen_random_uuid(), 'bench', 'Bench') returning id),
              made as (insert into connectors (id, space_id, name, connector_type, config, credentials_public)
                       select gen_random_uuid(), space.id, 'light ' || number, 'airflow',
                           $1 || jsonb_build_object('base_url', $2 || '/' || number), '{\"auth_type\": \"none\"}'
                       from space, generate_series(1, $3) number returning id)
         insert into connector_state (connector_id) select id from made",
    )
    .bind(json!({"schedule": "0 0 0 1 1 *"}))
    .bind(url)
    .bind(CONNECTORS)
    .execute(db)
    .await
    .map(drop)
}

/// Lets all be due at one second and tells, when every sync has ended, how it went: a row of the table.
async fn run_round(db: &PgPool, light: &LightAirflow, round: usize) -> anyhow::Result<String> {
    let polls = || light.polls().into_values().sum::<usize>();
    let before = polls();
    // Long enough for the workers to be there, and for those of the round before to be quiet.
    let tick: chrono::DateTime<chrono::Utc> = sqlx::query_scalar(
        "with due as (update connector_state
             set next_due_at = date_trunc('second', now()) + interval '5 seconds' returning next_due_at)
         select max(next_due_at) from due",
    )
    .fetch_one(db)
    .await?;
    loop {
        let open: bool = sqlx::query_scalar(
            "select exists (select from connector_state where next_due_at <= $1)
                 or exists (select from syncs where status in ('queued', 'running'))",
        )
        .bind(tick)
        .fetch_one(db)
        .await?;
        if !open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (made, distinct): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct connector_id) from syncs where tick_at = $1")
            .bind(tick)
            .fetch_one(db)
            .await?;
    let late: Vec<f64> = sqlx::query_scalar(
        "select unnest(percentile_cont(array[0.5, 0.99, 1]) within group (order by taken)
             || percentile_cont(array[0.5, 0.99, 1]) within group (order by begun)
             || percentile_cont(array[1.0]) within group (order by ended))
         from (select extract(epoch from requested_at - tick_at)::float8 as taken,
                   extract(epoch from started_at - tick_at)::float8 as begun,
                   extract(epoch from finished_at - tick_at)::float8 as ended
               from syncs where tick_at = $1) late",
    )
    .bind(tick)
    .fetch_all(db)
    .await?;
    let late: Vec<String> = late.iter().map(|late| format!("{late:.2}")).collect();
    let (lost, twice) = (i64::from(CONNECTORS) - distinct, made - distinct);
    Ok(format!("| {round} | {lost} | {twice} | {} | {} |\n", polls() - before, late.join(" | ")))
}
