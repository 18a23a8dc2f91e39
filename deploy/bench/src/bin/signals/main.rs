//! How often signals are wrong, and how many injected faults they find, on a made corpus: histories of
//! several shapes are replayed by the worker's backtest. `cargo local bench signals` runs it and prints a
//! table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod corpus;
mod installation;

use contract::state::IncidentKind;
use worker::signals::{Backtest, JudgedRun};

use corpus::{Injected, MadeRun, Shape};
use installation::Installation;

/// How many pipelines of each shape are as usual, and how many have faults.
const PIPELINES: u64 = 2;
/// Seconds between two polls, as in the demo.
const POLL_INTERVAL: f64 = 30.0;

const HEADER: &str = "\n\
    | shape | runs as usual | slow | late start | late finish | slowdowns caught | missed starts caught \
    | slow seen at |\n\
    |---|---:|---:|---:|---:|---:|---:|---:|\n";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let installation = Installation::create().await?;
    let mut backtest = Backtest::begin(&installation.db, POLL_INTERVAL).await?.unwrap();
    let (mut table, mut all) = (HEADER.to_owned(), Score::default());
    for (number, shape) in Shape::ALL.into_iter().enumerate() {
        let mut score = Score::default();
        for (pipeline, with_faults) in (0..PIPELINES).flat_map(|n| [(n, false), (n, true)]) {
            let seed = 100 * number as u64 + 10 * pipeline + u64::from(with_faults);
            let made = corpus::history(shape, seed, with_faults);
            let name = format!("{shape:?}-{seed}");
            let (id, since) = installation.insert(&name, shape, &made).await?;
            let judged = backtest.replay(id, since).await?;
            let injected: Vec<&MadeRun> = made.iter().filter(|run| run.due >= shape.judged_from()).collect();
            anyhow::ensure!(judged.len() == injected.len(), "{name}: {} runs judged", judged.len());
            for (judged, made) in judged.iter().zip(injected) {
                score.add(judged, made);
                all.add(judged, made);
            }
        }
        table += &score.row(&format!("{shape:?}"));
    }
    table += &all.row("all");
    backtest.end().await?;
    installation.drop().await?;
    local::print(&table);
    Ok(())
}

/// What was counted of a shape.
#[derive(Default)]
struct Score {
    usual: usize,
    slow: usize,
    late_start: usize,
    late_finish: usize,
    /// Injected slowdowns and missed starts: caught, and all.
    slowdowns: (usize, usize),
    missed: (usize, usize),
    /// When injected slowdowns were seen, as multiples of the run's usual duration.
    seen_at: Vec<f64>,
}

impl Score {
    fn add(&mut self, judged: &JudgedRun, made: &MadeRun) {
        let Some(expected) = &judged.expected else { return };
        match made.injected {
            Injected::Nothing => {
                self.usual += 1;
                self.slow += usize::from(judged.has(IncidentKind::Slow));
                self.late_start += usize::from(judged.has(IncidentKind::LateStart));
                self.late_finish += usize::from(judged.has(IncidentKind::LateFinish));
            }
            Injected::Slowdown => {
                self.slowdowns.1 += 1;
                if judged.has(IncidentKind::Slow) {
                    self.slowdowns.0 += 1;
                    self.seen_at.push(expected.slow_after / made.usual_duration);
                }
            }
            Injected::MissedStart => {
                self.missed.1 += 1;
                self.missed.0 += usize::from(judged.has(IncidentKind::LateStart));
            }
        }
    }

    fn row(&mut self, name: &str) -> String {
        self.seen_at.sort_by(f64::total_cmp);
        let seen_at = self.seen_at.get(self.seen_at.len() / 2).copied().unwrap_or_default();
        let share = |n: usize| format!("{:.2} %", 100.0 * n as f64 / self.usual.max(1) as f64);
        let caught = |(caught, all): (usize, usize)| format!("{caught} of {all}");
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {seen_at:.2} × usual |\n",
            self.usual,
            share(self.slow),
            share(self.late_start),
            share(self.late_finish),
            caught(self.slowdowns),
            caught(self.missed),
        )
    }
}
