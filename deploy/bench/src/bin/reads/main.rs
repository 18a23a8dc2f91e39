//! Speed of the API's reads, compared with PostgreSQL alone (`pgbench` with the same SQL) and with a bare
//! handler (`bare`), on the same data in one run. `cargo local bench reads` runs it and prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod bare;
mod data;
mod fairness;
mod lists;
mod load;
mod report;
mod services;
mod space;
mod sql;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use data::{BenchData, DataScale};
use load::{LoadGenerator, PacedLatency};
use report::ReadsReport;
use services::MeasuredServices;

const CONNECTIONS: usize = 8;
/// How often each latency is measured.
const TURNS: usize = 5;

/// The measured reads of the pipelines page.
const PAGES: [(&str, &str); 4] = [
    ("pipelines, first page", "/pipelines?size=50"),
    ("pipelines, filtered", "/pipelines?size=50&owner=owner-3&q=pipeline"),
    ("pipelines, by success rate", "/pipelines?size=50&sort=success_rate"),
    ("pipelines, longest first", "/pipelines?size=50&sort=-avg_duration"),
];

/// Reads deep into lists.
const DEEP_PAGES: [(&str, &str); 3] = [
    ("pipelines, last page", "/pipelines?size=50&page=10"),
    ("runs, 1,000th page", "/runs?size=50&page=1000"),
    ("runs that failed, with their total", "/runs?size=50&status=failed"),
];

#[derive(Parser)]
struct ReadsArguments {
    /// The duration of each measurement, in seconds.
    #[arg(default_value_t = 10)]
    seconds: u64,
    /// What is measured: everything, if nothing is named.
    parts: Vec<ReadsPart>,
    /// The number of runs of the large space.
    #[arg(long, default_value_t = 10_000_000)]
    runs: i64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ReadsPart {
    /// Reads compared with PostgreSQL and a bare handler, and pages at three times the runs.
    Compared,
    /// Every filter and sort in one large space.
    Lists,
    /// One key's reads beside many expensive ones of another.
    Fairness,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&ReadsArguments::parse()))
}

async fn run(arguments: &ReadsArguments) -> anyhow::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let load = LoadGenerator { time, connections: CONNECTIONS, wrk: local::program("wrk").await? };
    let is_measured = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    if is_measured(ReadsPart::Compared) {
        compare_all(&load).await?;
    }
    if is_measured(ReadsPart::Lists) {
        let smaller = space::open(arguments.runs / 3).await?;
        let larger = space::open(arguments.runs).await?;
        local::print(&format!("\n{}", lists::measure(&load, [&smaller, &larger]).await?));
    }
    if is_measured(ReadsPart::Fairness) {
        let data = space::open(arguments.runs).await?;
        local::print(&format!("\n{}", fairness::measure(&load, &data).await?));
    }
    Ok(())
}

/// Measures the reads of a million runs in twenty spaces, and pages at three times the runs.
async fn compare_all(load: &LoadGenerator) -> anyhow::Result<()> {
    let mut report = ReadsReport::new(load);
    let data = BenchData::open(DataScale::ONE).await?;
    let larger = BenchData::open(DataScale::THREE).await?;
    let served = MeasuredServices::start(&data).await?;
    compare(load, &data, &served, &mut report).await?;
    let larger = MeasuredServices::start(&larger).await?;
    for (name, path) in PAGES {
        let [latencies, larger_latency] = half_load(load, [&served, &larger], path).await?;
        report.page(name, &latencies, None);
        report.page("… at 3 times the runs", &larger_latency, Some(&latencies));
    }
    for (name, path) in DEEP_PAGES {
        let [latencies] = half_load(load, [&served], path).await?;
        report.page(name, &latencies, None);
    }
    report.print();
    Ok(())
}

/// Measures PostgreSQL alone, the bare handler and the API, one after the other.
async fn compare(
    load: &LoadGenerator,
    data: &BenchData,
    served: &MeasuredServices,
    report: &mut ReadsReport,
) -> anyhow::Result<()> {
    for read in [sql::ComparedRead::RunById, sql::ComparedRead::FiftyRuns] {
        let paths = read.paths(data);
        let pgbench = sql::pgbench(load, data, read).await?;
        let bare = load.saturate(&served.bare, None, &paths.bare).await?;
        let api = load.saturate(&served.api, Some(&data.key), &paths.api).await?;
        report.compared(read, pgbench, &bare, &api);
    }
    Ok(())
}

/// Latencies of several services, each at half of the first one's maximum throughput. The services are
/// measured in turn, and each result is the one with the median p99, since the speed of a machine varies.
async fn half_load<const N: usize>(
    load: &LoadGenerator,
    services: [&MeasuredServices; N],
    path: &str,
) -> anyhow::Result<[PacedLatency; N]> {
    let paths = [format!("{}{path}", data::orchestration())];
    let maximum = load.saturate(&services[0].api, Some(&services[0].key), &paths).await?;
    let mut latencies = services.map(|_| Vec::new());
    for _ in 0..TURNS {
        for (served, latencies) in services.iter().zip(&mut latencies) {
            latencies.push(load.paced(&served.api, &served.key, &paths[0], maximum.per_second / 2.0).await?);
        }
    }
    Ok(latencies.map(|mut latencies| {
        latencies.sort_by_key(|latency| latency.p99);
        latencies.swap_remove(TURNS / 2)
    }))
}
