//! Runs benchmarks by name. Each is a program of the crate `deploy/bench`.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::product;

#[derive(Clone, Copy, ValueEnum)]
pub enum Benchmark {
    /// Speed of the web console in Chromium, compared with Airflow's own user interface
    Console,
    /// Latency and throughput of the API's reads, compared with PostgreSQL alone
    Reads,
    /// Delay of scheduled syncs with a thousand connectors
    Schedule,
    /// Wrong signals, and injected faults that are found, on a made corpus of pipelines
    Signals,
    /// Cost of a long history, up to 40 million task runs: takes an hour and 25 GiB
    Size,
    /// Duration of a first sync and of an idle poll, compared with a bare crawl of the same Airflow
    Sync,
    /// Waits of a thousand connectors with fifty workers while some sources fail: takes ten minutes
    Workers,
}

/// Builds a benchmark for release and runs it to its end; each of its measurements takes this many seconds.
pub async fn bench(benchmark: Benchmark, seconds: u64, arguments: Vec<String>) -> Result<()> {
    let name = benchmark.to_possible_value().context("a benchmark has no name")?;
    let mut cargo = product::cargo();
    cargo.args(["run", "--release", "-p", "orchestration-bench", "--bin", name.get_name()]);
    cargo.args(["--", &seconds.to_string()]).args(arguments);
    let status = tokio::task::spawn_blocking(move || cargo.status()).await??;
    if !status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}
