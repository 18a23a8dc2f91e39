//! Cost of a long history: the product's own statements on an installation with more and more runs, up to 40
//! million task runs. `cargo local bench size` runs it and prints a table; it takes about an hour and 25 GiB.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod history;
mod measures;
mod report;

use history::LongHistory;
use report::SizeReport;

/// Numbers of runs, each with five task runs.
const SIZES: [i64; 3] = [500_000, 2_000_000, 8_000_000];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut history = LongHistory::begin().await?;
    let mut report = SizeReport::default();
    for runs in SIZES {
        history.grow_to(runs).await?;
        measures::measure_all(&history, runs, &mut report).await?;
        local::print(&report.table());
    }
    history.drop().await
}
