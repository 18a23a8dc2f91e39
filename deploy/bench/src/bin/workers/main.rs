//! A thousand connectors and fifty workers while some sources hang, fail or refuse the login: how long the
//! other connectors wait from poll to poll, and what the workers cost PostgreSQL. `cargo local bench workers`
//! runs it and prints tables. The workers are tasks of this process, each with connections of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod cost;
mod sources;

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::json;
use sources::Sources;
use sqlx::PgPool;
use testkit::ProgramSettings;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::app::Worker;
use worker::cli::{RunArgs, WorkerCli, WorkerCommand};

/// The numbers of connectors and of workers, unless a second and a third argument say otherwise.
const SCALE: [usize; 2] = [1_000, 50];
/// The first syncs, which read the histories, are left out of the tables.
const WARM_UP_INTERVALS: u32 = 3;
const MEASURED_INTERVALS: u32 = 5;
/// The workers join their consumer groups one after another.
const START_PAUSE: Duration = Duration::from_millis(500);
/// The connections of a worker: all of them together must fit into PostgreSQL's limit.
const CONNECTIONS: [&str; 4] = ["--database-connections", "8", "--control-connections", "6"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    cost::count_statements();
    // The first argument of every benchmark is in seconds.
    let argument =
        |at: usize, default| std::env::args().nth(at).map_or(default, |text| text.parse().unwrap());
    let minutes = u32::try_from(argument(1, 0) / 60)?.max(1);
    let [connectors, workers] = [argument(2, SCALE[0]), argument(3, SCALE[1])];
    let interval = Duration::from_secs(60) * minutes;
    let admin = local::postgres_instance("postgres-bench-workers").await?;
    let name = Uuid::new_v4().simple().to_string();
    let url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
    let db = PgPool::connect(&url).await?;
    platform::db::migrate(&db).await?;
    let sources = Sources::start().await;
    create_connectors(&db, &sources, connectors, minutes).await;
    let settings = ProgramSettings {
        database_url: url,
        kafka: orchestration_bench::kafka(&name).await?,
        sealing_keys: testkit::sealing_keys("a"),
    };
    let stop = CancellationToken::new();
    let running = start_workers(&settings, workers, &stop).await?;
    eprintln!("{workers} workers started; warming up for {WARM_UP_INTERVALS} intervals of {minutes} min");
    sqlx::query("update connector_state set next_due_at = now()").execute(&db).await?;
    tokio::time::sleep(interval * WARM_UP_INTERVALS).await;
    let (cost, from) = (cost::Meter::start(&db).await?, now(&db).await?);
    let connections = cost::sample_connections(&db, interval * MEASURED_INTERVALS).await?;
    let (table, to) = (cost.table(&db, connections).await?, now(&db).await?);
    stop.cancel();
    drop(running);
    local::print(&format!(
        "\n{connectors} connectors polled every {minutes} min, {workers} workers, {} cores, all on one \
         machine, {MEASURED_INTERVALS} intervals.\n\n{}\n{table}",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        waits(&db, from, to, interval).await?
    ));
    Ok(())
}

/// Creates the connectors, all of which are due in the same second.
async fn create_connectors(db: &PgPool, sources: &Sources, count: usize, minutes: u32) {
    testkit::create_space(db, "bench").await;
    let schedule = if minutes == 1 { "0 * * * * *".to_owned() } else { format!("0 */{minutes} * * * *") };
    let connector = |number| {
        let (kind, url) = sources.url(number);
        (format!("{kind} {number}"), json!({"base_url": url, "schedule": schedule}))
    };
    let connectors: Vec<_> = (0..count).map(connector).collect();
    testkit::create_connectors(db, "bench", &connectors).await;
}

async fn start_workers(
    settings: &ProgramSettings,
    count: usize,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<impl Sized>> {
    let args = run_args(settings)?;
    let mut workers = Vec::new();
    for _ in 0..count {
        let worker = Worker::open(&args.settings, stop.child_token())?;
        let ticker = worker.start(&args).await?;
        workers.push((worker, ticker));
        tokio::time::sleep(START_PAUSE).await;
    }
    Ok(workers)
}

fn run_args(settings: &ProgramSettings) -> anyhow::Result<RunArgs> {
    let kafka = &settings.kafka;
    let partitions = kafka.kafka_partitions.to_string();
    let arguments = [
        "orchestration-worker",
        "run",
        "--allow-private-networks",
        "--database-url",
        &settings.database_url,
        "--kafka-bootstrap-servers",
        &kafka.kafka_bootstrap_servers,
        "--kafka-prefix",
        &kafka.kafka_prefix,
        "--kafka-partitions",
        &partitions,
        "--sealing-keys",
        &settings.sealing_keys,
    ];
    let cli = WorkerCli::try_parse_from(arguments.iter().chain(&CONNECTIONS))?;
    let WorkerCommand::Run(args) = cli.command else { unreachable!("the command is `run`") };
    Ok(*args)
}

async fn now(db: &PgPool) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select now()").fetch_one(db).await
}

/// The waits of one kind of source: its name, its connectors, their succeeded and failed syncs, the longest
/// wait of a connector in seconds (median, 99 %, all), and how late syncs started (99 %).
type Waits = (String, i64, i64, i64, Vec<f64>, Option<f64>);

/// How long connectors waited at most from poll to poll, and how late their syncs started, by kind of source.
async fn waits(
    db: &PgPool,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    interval: Duration,
) -> anyhow::Result<String> {
    let rows: Vec<Waits> = sqlx::query_as(
        "with kinds as (select id, split_part(name, ' ', 1) as kind from connectors),
         ended as (
             select connector_id, started_at, status, extract(epoch from started_at - tick_at)::float8 as late
             from syncs where started_at between $1 and $2 and status in ('succeeded', 'failed')),
         marks as (
             select connector_id, started_at from ended
             union all select id, unnest(array[$1, $2]) from kinds),
         gaps as (
             select connector_id, extract(epoch from started_at - lag(started_at) over (
                 partition by connector_id order by started_at))::float8 as gap from marks),
         longest as (select connector_id, max(gap) as gap from gaps group by connector_id)
         select kind, count(*),
             (select count(*) from ended join kinds k on k.id = connector_id
              where k.kind = kinds.kind and status = 'succeeded'),
             (select count(*) from ended join kinds k on k.id = connector_id
              where k.kind = kinds.kind and status = 'failed'),
             percentile_cont(array[0.5, 0.99, 1]) within group (order by gap),
             (select percentile_cont(0.99) within group (order by late) from ended
              join kinds k on k.id = connector_id where k.kind = kinds.kind)
         from kinds join longest on connector_id = id group by kind order by count(*) desc, kind",
    )
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    let mut table = "| sources | connectors | succeeded | failed | longest wait, in intervals: 50 % | 99 % \
                     | all | late: 99 % |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (kind, connectors, succeeded, failed, gaps, late) in rows {
        let gaps: Vec<_> = gaps.iter().map(|gap| format!("{:.2}", gap / interval.as_secs_f64())).collect();
        let late = late.map_or_else(String::new, |late| format!("{late:.1} s"));
        let gaps = gaps.join(" | ");
        table += &format!("| {kind} | {connectors} | {succeeded} | {failed} | {gaps} | {late} |\n");
    }
    Ok(table)
}
