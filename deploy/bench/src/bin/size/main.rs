//! Cost of a long history: the product's own statements on an installation with more and more runs, up to 40
//! million task runs. `cargo local bench size` runs it and prints a table; it takes about an hour and 25 GiB.
//! `cargo local bench size -- indexes` measures what the indexes of lists cost the projection, in minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod history;
mod indexes;
mod measures;
mod report;

use clap::{Parser, ValueEnum};
use history::LongHistory;
use report::SizeReport;

/// Numbers of runs, each with five task runs.
const SIZES: [i64; 3] = [500_000, 2_000_000, 8_000_000];

#[derive(Parser)]
struct SizeArguments {
    /// The seconds of a measurement, which this benchmark does not have.
    _seconds: u64,
    part: Option<SizePart>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SizePart {
    Indexes,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(SizePart::Indexes) = SizeArguments::parse().part {
        indexes::measure().await?;
        return Ok(());
    }
    let mut history = LongHistory::begin().await?;
    let mut report = SizeReport::default();
    for runs in SIZES {
        history.grow_to(runs).await?;
        measures::measure_all(&history, runs, &mut report).await?;
        local::print(&report.table());
    }
    history.drop().await
}
