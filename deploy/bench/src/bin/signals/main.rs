//! How often signals are wrong, and how many injected faults they find, on a made corpus: histories of
//! several shapes are replayed by the worker's backtest. `cargo local bench signals` runs it and prints a
//! table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends where it fails")]

mod corpus;
mod installation;
mod score;

use worker::signals::{Backtest, JudgedRun};

use corpus::{MadeRun, Shape};
use installation::Installation;
use score::Score;

/// The corpus is made so often, each time of other random numbers.
const SEEDS: u64 = 3;
/// How many pipelines of each shape are as usual, and how many have faults.
const PIPELINES: u64 = 2;
/// Seconds between two polls, as in the demo.
const POLL_INTERVAL: f64 = 30.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let installation = Installation::create().await?;
    let mut backtest = Backtest::begin(&installation.db, POLL_INTERVAL).await?.unwrap();
    let mut table = score::HEADER.to_owned();
    let mut all: Vec<Score> = (0..SEEDS).map(|_| Score::default()).collect();
    for (number, shape) in (0..).zip(Shape::ALL) {
        let mut scores = Vec::new();
        for (seed, all) in (0..SEEDS).zip(&mut all) {
            let mut score = Score::default();
            for (pipeline, with_faults) in (0..PIPELINES).flat_map(|n| [(n, false), (n, true)]) {
                let seed = 1_000 * seed + 100 * number + 10 * pipeline + u64::from(with_faults);
                let made = corpus::history(shape, seed, with_faults);
                for (judged, made) in replay(&installation, &mut backtest, shape, seed, &made).await? {
                    score.add(&judged, made);
                }
            }
            all.merge(&score);
            scores.push(score);
        }
        table += &score::row(&format!("{shape:?}"), &scores);
    }
    table += &score::row("all", &all);
    backtest.end().await?;
    installation.drop().await?;
    local::print(&table);
    Ok(())
}

/// Replays the history of one pipeline; returns each judged run with what was made of it.
async fn replay<'a>(
    installation: &Installation,
    backtest: &mut Backtest,
    shape: Shape,
    seed: u64,
    made: &'a [MadeRun],
) -> anyhow::Result<Vec<(JudgedRun, &'a MadeRun)>> {
    let name = format!("{shape:?}-{seed}");
    let (id, since) = installation.insert(&name, shape, made).await?;
    let judged = backtest.replay(id, since).await?;
    let made: Vec<&MadeRun> = made.iter().filter(|run| run.due >= shape.judged_from()).collect();
    anyhow::ensure!(judged.len() == made.len(), "{name}: {} runs judged", judged.len());
    Ok(judged.into_iter().zip(made).collect())
}
