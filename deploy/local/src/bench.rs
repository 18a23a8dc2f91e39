//! Benchmarks by name: each is a `cargo bench` target of the crate that it measures.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::product;

#[derive(Clone, Copy, ValueEnum)]
pub enum Benchmark {
    /// The API's reads beside PostgreSQL alone
    Reads,
    /// How late the schedules of a thousand connectors are
    Schedule,
    /// What a long history costs, up to 40 million task runs: an hour and 25 GiB
    Size,
    /// A first sync and an idle poll beside a bare crawl of the same Airflow
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

/// Builds a benchmark for release and runs it to its end, so many seconds a measurement.
pub async fn bench(benchmark: Benchmark, seconds: u64) -> Result<()> {
    let (package, target) = benchmark.target();
    let mut cargo = product::cargo();
    cargo.args(["bench", "-p", package, "--bench", target, "--", &seconds.to_string()]);
    let status = tokio::task::spawn_blocking(move || cargo.status()).await??;
    if !status.success() {
        bail!("the benchmark did not come to its end: see above");
    }
    Ok(())
}
