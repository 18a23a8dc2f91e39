//! Cost of a first sync, compared with a bare crawl of the same Airflow with the same requests, and of a poll
//! without changes. `cargo local bench sync` runs it and prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod bare;
mod installation;

use std::time::Duration;

use installation::{BenchInstallation, SyncCost};
use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};

const DAGS: u32 = 500;
const RUNS: u32 = 100;
const TASKS: u32 = 5;
/// Both are measured in turn, since the speed of a machine varies.
const TURNS: usize = 3;
const IDLE_POLLS: i64 = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let airflow = seeded_airflow().await?;
    let mut crawls = Vec::new();
    let mut firsts = Vec::new();
    let mut idles = Vec::new();
    for turn in 0..TURNS {
        // The second one benefits from warm caches, so the order alternates.
        if turn % 2 == 0 {
            crawls.push(bare::crawl(&airflow).await?);
        }
        let installation = BenchInstallation::new(&airflow).await?;
        firsts.push(installation.sync().await?);
        if turn % 2 == 1 {
            crawls.push(bare::crawl(&airflow).await?);
        }
        idles.push(installation.poll(IDLE_POLLS).await?);
    }
    print(&crawls, &firsts, &idles);
    Ok(())
}

async fn seeded_airflow() -> anyhow::Result<AirflowServer> {
    let name = "airflow-bench".to_owned();
    let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
    let airflow = local::airflow_instance(&setup).await?;
    let seed = Seed { prefix: "bench".to_owned(), dags: DAGS, runs: RUNS, tasks: TASKS };
    local::seed_airflow(&airflow, &seed).await?;
    Ok(airflow)
}

fn print(crawls: &[bare::CrawlCost], firsts: &[SyncCost], idles: &[SyncCost]) {
    let crawl = median(crawls.iter().map(|crawl| crawl.duration));
    let first = median(firsts.iter().map(|sync| sync.duration));
    let memory = firsts.iter().map(|sync| sync.memory).max().unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut table = format!(
        "\n{cores} cores, everything on one machine; an Airflow 3.3 with {DAGS} DAGs × {RUNS} runs × {TASKS} \
         tasks; \
         medians of {TURNS} alternating runs.\n\n\
         | | requests | rows received | published | rewritten | WAL | duration |\n\
         |---|---:|---:|---:|---:|---:|---:|\n\
         | bare crawl | {} | {} | | | | {:.1} s |\n",
        crawls[0].requests,
        crawls[0].rows,
        crawl.as_secs_f64()
    );
    table += &row("first sync", &firsts[0], first);
    table += &row("idle poll", &idles[0], median(idles.iter().map(|poll| poll.duration)));
    table += &format!(
        "\nA first sync takes {:.2} times the bare crawl; its worker had {} MB at most.",
        first.as_secs_f64() / crawl.as_secs_f64(),
        memory >> 20
    );
    local::print(&table);
}

fn row(name: &str, sync: &SyncCost, duration: Duration) -> String {
    format!(
        "| {name} | {} | {} | {} | {} | {} KiB | {:.1} s |\n",
        sync.report.requests,
        sync.report.pipelines_seen + sync.report.runs_seen + sync.report.task_runs_seen,
        sync.report.events_published,
        sync.rewritten,
        sync.wal >> 10,
        duration.as_secs_f64()
    )
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
