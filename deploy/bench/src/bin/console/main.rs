//! Speed of the web console in Chromium, beside Airflow's own user interface with as many pipelines, in the
//! same browser and run. `cargo local bench console` runs it and prints two tables; with the argument `small`
//! the amount of data is small, to try it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod airflow;
mod browser;
mod data;
mod feed;
mod report;

use std::time::Duration;

use testkit::{ApiProcess, ProgramSettings, WorkerProcess, create_topics, sealing_keys};

use browser::{AirflowPages, ConsolePages};
use data::{ConsoleData, ConsoleScale};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let is_small = arguments.iter().any(|argument| argument == "small");
    let scale = if is_small { ConsoleScale::SMALL } else { ConsoleScale::FULL };
    run(&scale, Duration::from_secs(seconds)).await
}

async fn run(scale: &ConsoleScale, time: Duration) -> anyhow::Result<()> {
    let sources = local::console().await?;
    let data = ConsoleData::open(scale).await?;
    let airflow = airflow::seeded(scale).await?;
    let kafka = orchestration_bench::kafka(&format!("console-{}", uuid::Uuid::new_v4().simple())).await?;
    create_topics(&kafka).await;
    let settings = ProgramSettings {
        database_url: data.url.clone(),
        kafka: kafka.clone(),
        sealing_keys: sealing_keys("a"),
    };
    let worker = WorkerProcess::start(&settings, &[]).await;
    let api = ApiProcess::start(&settings, &[]).await;
    api.wait_until_ready().await;
    let console = ConsolePages {
        url: api.url.clone(),
        key: data.key.clone(),
        list: data.list_page(),
        grid: data.grid_page(),
        run: data.run_page(),
    };
    let airflow = AirflowPages::of(&airflow);
    let feed = tokio::spawn(feed::publish(kafka, data));
    let measured = browser::measure(&sources, &console, &airflow, time).await;
    feed.abort();
    drop((api, worker));
    report::print(scale, &measured?);
    Ok(())
}
