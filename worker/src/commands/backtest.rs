//! The backtest: what signals the history would have given, without knowledge of the future.

use anyhow::Context;
use chrono::{TimeDelta, Utc};
use contract::state::IncidentKind;
use indicatif::ProgressBar;
use platform::db;

use crate::cli::BacktestArgs;
use crate::signals::{Backtest, JudgedRun};

const KINDS: [IncidentKind; 3] = [IncidentKind::Slow, IncidentKind::LateStart, IncidentKind::LateFinish];

/// What was found of a pipeline.
struct ReplayedHistory {
    name: String,
    failures: i64,
    runs: Vec<JudgedRun>,
}

impl ReplayedHistory {
    fn count(&self, kind: IncidentKind) -> usize {
        self.runs.iter().filter(|run| run.has(kind)).count()
    }

    fn signals(&self) -> usize {
        KINDS.iter().map(|kind| self.count(*kind)).sum()
    }
}

/// Replays the history of all pipelines, and prints signals by kind and the pipelines with most of them. It
/// only reads; what it learns is stored in tables of its own, which the worker's role may not create.
pub async fn backtest(args: &BacktestArgs) -> anyhow::Result<()> {
    let pool = db::pool_of_command(&args.settings.database, "orchestration-worker-backtest").await?;
    let since = Utc::now() - TimeDelta::days(args.days.into());
    let begun = Backtest::begin(&pool, f64::from(args.poll_interval)).await?;
    let mut backtest = begun.context("another backtest is under way; wait for its end, or stop it")?;
    let pipelines = backtest.find_pipelines(since).await?;
    let bar = ProgressBar::new(pipelines.len() as u64);
    let mut histories = Vec::new();
    for pipeline in pipelines {
        let runs = backtest.replay(pipeline.id, since).await?;
        let failures = backtest.count_failures(pipeline.id, since).await?;
        histories.push(ReplayedHistory { name: pipeline.name, failures, runs });
        bar.inc(1);
    }
    bar.finish_and_clear();
    backtest.end().await?;
    print_kinds(&histories, args.days);
    print_worst(&mut histories, args.worst);
    Ok(())
}

fn print_kinds(histories: &[ReplayedHistory], days: u16) {
    let pipelines = histories.len();
    let runs = || histories.iter().flat_map(|history| &history.runs);
    let judged = runs().filter(|run| run.expected.is_some()).count();
    println!(
        "{pipelines} pipelines, {days} days: {} successful runs, {judged} of them with an expectation\n",
        runs().count()
    );
    let weeks = f64::from(days) / 7.0 * pipelines.max(1) as f64;
    println!("{:<12} {:>8} {:>20} {:>10}", "kind", "signals", "per pipeline, week", "of runs");
    let failures: i64 = histories.iter().map(|history| history.failures).sum();
    println!("{:<12} {failures:>8} {:>20.3} {:>10}", "failing", failures as f64 / weeks, "");
    for kind in KINDS {
        let signals: usize = histories.iter().map(|history| history.count(kind)).sum();
        let share = 100.0 * signals as f64 / judged.max(1) as f64;
        println!("{:<12} {signals:>8} {:>20.3} {share:>8.2} %", kind.to_string(), signals as f64 / weeks);
    }
    if let Some(ratio) = median_of_first_signals(runs()) {
        println!("\nHalf of the slow runs were seen before they took {ratio:.2} times the median.");
    }
}

/// The median of the ratio between the limit of slow runs and their usual duration.
fn median_of_first_signals<'a>(runs: impl Iterator<Item = &'a JudgedRun>) -> Option<f64> {
    let slow = runs.filter(|run| run.is_slow).filter_map(|run| run.expected.as_ref());
    let mut ratios: Vec<f64> =
        slow.map(|expected| expected.slow_after / expected.duration_p50.max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

fn print_worst(histories: &mut [ReplayedHistory], worst: usize) {
    histories.sort_by_key(|history| std::cmp::Reverse(history.signals()));
    let noisy = histories.iter().take(worst).filter(|history| history.signals() > 0);
    println!("\n{:<40} {:>6} {:>6} {:>11} {:>12}", "pipeline", "runs", "slow", "late_start", "late_finish");
    for history in noisy {
        let [slow, late_start, late_finish] = KINDS.map(|kind| history.count(kind));
        let (name, runs) = (&history.name, history.runs.len());
        println!("{name:<40} {runs:>6} {slow:>6} {late_start:>11} {late_finish:>12}");
    }
}
