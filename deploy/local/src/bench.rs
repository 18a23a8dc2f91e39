//! Runs benchmarks by name. Each is a `cargo bench` target of the crate that it measures.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::product;

#[derive(Clone, Copy, ValueEnum)]
pub enum Benchmark {
    /// Latency and throughput of the API's reads, compared with PostgreSQL alone
    Reads,
    /// Delay of scheduled syncs with a thousand connectors
    Schedule,
    /// Cost of a long history, up to 40 million task runs: takes an hour and 25 GiB
    Size,
    /// Duration of a first sync and of an idle poll, compared with a bare crawl of the same Airflow
    Sync,
}

impl Benchmark {
    fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::Reads => ("orchestration-api", "reads"),
            Self::Schedule => ("orchestration-worker", "schedule"),
            Self::Size => ("orchestration-api", "size"),
            Self::Sync => ("orchestration-worker", "sync"),
        }
    }
}

/// Builds a benchmark in release mode and runs it. `seconds` is the duration of each measurement.
pub async fn bench(benchmark: Benchmark, seconds: u64) -> Result<()> {
    let (package, target) = benchmark.target();
    let mut cargo = product::cargo();
    cargo.args(["bench", "-p", package, "--bench", target, "--", &seconds.to_string()]);
    let status = tokio::task::spawn_blocking(move || cargo.status()).await??;
    if !status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}
