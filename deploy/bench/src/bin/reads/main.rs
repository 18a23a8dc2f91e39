//! How fast the API reads: beside PostgreSQL alone (`pgbench` with the same SQL) and beside a handler that
//! does nothing but ask (`bare`), all on the same data, in one run. `cargo local bench reads` runs it and
//! prints a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod bare;
mod data;
mod load;
mod report;
mod served;
mod sql;

use std::time::Duration;

use data::{Data, Scale};
use load::{Latency, Load};
use report::Report;
use served::Served;

const CONNECTIONS: usize = 8;
/// How often latencies are measured.
const TURNS: usize = 5;

/// What reads of the pipelines page are measured.
const PAGES: [(&str, &str); 4] = [
    ("pipelines, first page", "/pipelines?size=50"),
    ("pipelines, filtered", "/pipelines?size=50&owner=owner-3&q=pipeline"),
    ("pipelines, by success rate", "/pipelines?size=50&sort=success_rate"),
    ("pipelines, longest first", "/pipelines?size=50&sort=-avg_duration"),
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
    let larger = Data::ready(Scale::THREE).await?;
    let served = Served::start(&data).await?;
    compare(&load, &data, &served, &mut report).await?;
    let larger = Served::start(&larger).await?;
    for (name, path) in PAGES {
        let [found, grown] = half_load(&load, [&served, &larger], path).await?;
        report.page(name, &found, None);
        report.page("… at 3 times the runs", &grown, Some(&found));
    }
    for (name, path) in DEEP {
        let [found] = half_load(&load, [&served], path).await?;
        report.page(name, &found, None);
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

/// Latencies of one or several services, each at half of what the first can bear. They are measured by turns,
/// and of several measurements the one with the middle p99 counts, for the machine has its moods.
async fn half_load<const N: usize>(
    load: &Load,
    services: [&Served; N],
    path: &str,
) -> anyhow::Result<[Latency; N]> {
    let paths = [format!("{}{path}", data::orchestration())];
    let most = load.full(&services[0].api, Some(&services[0].key), &paths).await?;
    let mut found = services.map(|_| Vec::new());
    for _ in 0..TURNS {
        for (served, found) in services.iter().zip(&mut found) {
            found.push(load.paced(&served.api, &served.key, &paths[0], most.per_second / 2.0).await?);
        }
    }
    Ok(found.map(|mut found| {
        found.sort_by_key(|latency| latency.p99);
        found.swap_remove(TURNS / 2)
    }))
}
