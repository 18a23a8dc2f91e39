//! How fast the API reads: beside PostgreSQL alone (`pgbench` with the same SQL) and beside a handler that does
//! nothing but ask (`bare`), all on the same data, in one run. `cargo local bench reads` runs it and prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod bare;
mod data;
mod load;
mod report;
mod served;
mod sql;

use std::time::Duration;

use data::{Data, Scale};
use load::Load;
use report::Report;
use served::Served;

const CONNECTIONS: usize = 8;
/// How often latencies are measured.
const TURNS: usize = 3;

/// What reads of the pipelines page are measured.
const PAGES: [(&str, &str); 4] = [
    ("pipelines, first page", "/pipelines?size=50"),
    ("… filtered", "/pipelines?size=50&owner=owner-3&q=pipeline"),
    ("… by success rate", "/pipelines?size=50&sort=success_rate"),
    ("… longest first", "/pipelines?size=50&sort=-avg_duration"),
];

/// Reads deep into lists.
const DEEP: [(&str, &str); 3] = [
    ("pipelines, last page", "/pipelines?size=50&page=10"),
    ("runs, 1,000th page", "/runs?size=50&page=1000"),
    ("runs that failed, with their total", "/runs?size=50&status=failed"),
];

fn main() -> anyhow::Result<()> {
    // `cargo bench` says --bench.
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(Duration::from_secs(seconds)))
}

async fn run(time: Duration) -> anyhow::Result<()> {
    let load = Load { time, connections: CONNECTIONS, wrk: local::program("wrk").await? };
    let mut report = Report::new(&load);
    let data = Data::ready(Scale::ONE).await?;
    let served = Served::start(&data).await?;
    compare(&load, &data, &served, &mut report).await?;
    let mut before = Vec::new();
    for (name, path) in PAGES {
        let found = half_load(&load, &served, path).await?;
        report.page(name, &found, None);
        before.push(found);
    }
    for (name, path) in DEEP {
        report.page(name, &half_load(&load, &served, path).await?, None);
    }
    let data = Data::ready(Scale::THREE).await?;
    let served = Served::start(&data).await?;
    for ((name, path), before) in PAGES.into_iter().zip(&before) {
        report.page(
            &format!("{name}, at 3 times the runs"),
            &half_load(&load, &served, path).await?,
            Some(before),
        );
    }
    report.print();
    Ok(())
}

/// The service, the bare handler and PostgreSQL alone, one after the other.
async fn compare(load: &Load, data: &Data, served: &Served, report: &mut Report) -> anyhow::Result<()> {
    for read in [sql::Read::RunById, sql::Read::FiftyRuns] {
        let paths = read.paths(data);
        let pgbench = sql::pgbench(load, data, read).await?;
        let bare = load.full(&served.bare, None, &paths.bare).await?;
        let api = load.full(&served.api, Some(&data.key), &paths.api).await?;
        report.compared(read, pgbench, &bare, &api);
    }
    Ok(())
}

/// Latencies at half of what it can bear: of several measurements the one with the middle p99, for the machine has its
/// moods.
async fn half_load(load: &Load, served: &Served, path: &str) -> anyhow::Result<load::Latency> {
    let paths = [format!("{}{path}", data::orchestration())];
    let most = load.full(&served.api, Some(&served.key), &paths).await?;
    let mut found = Vec::new();
    for _ in 0..TURNS {
        found.push(load.paced(&served.api, &served.key, &paths[0], most.per_second / 2.0).await?);
    }
    found.sort_by_key(|latency| latency.p99);
    Ok(found.swap_remove(TURNS / 2))
}
