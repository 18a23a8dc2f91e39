//! What is counted of the judged runs, and the table of it.

use contract::state::IncidentKind;
use worker::signals::JudgedRun;

use crate::corpus::{Injected, MadeRun};

pub(crate) const HEADER: &str = "\n\
    | shape | runs as usual | slow, % | late start, % | late finish, % | slowdowns caught \
    | missed starts caught | slow seen at, × usual |\n\
    |---|---:|---:|---:|---:|---:|---:|---:|\n";

/// What was counted of a shape, or of all.
#[derive(Clone, Default)]
pub(crate) struct Score {
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
    pub(crate) fn add(&mut self, judged: &JudgedRun, made: &MadeRun) {
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

    pub(crate) fn merge(&mut self, other: &Self) {
        self.usual += other.usual;
        self.slow += other.slow;
        self.late_start += other.late_start;
        self.late_finish += other.late_finish;
        self.slowdowns = (self.slowdowns.0 + other.slowdowns.0, self.slowdowns.1 + other.slowdowns.1);
        self.missed = (self.missed.0 + other.missed.0, self.missed.1 + other.missed.1);
        self.seen_at.extend(&other.seen_at);
    }

    fn share(&self, flagged: usize) -> f64 {
        100.0 * flagged as f64 / self.usual.max(1) as f64
    }

    /// The median of when slowdowns were seen.
    fn seen_at(&self) -> f64 {
        let mut seen_at = self.seen_at.clone();
        seen_at.sort_by(f64::total_cmp);
        seen_at.get(seen_at.len() / 2).copied().unwrap_or_default()
    }
}

/// Returns a line of the table: the sum of all seeds, and the range of the single ones in parentheses.
pub(crate) fn row(name: &str, scores: &[Score]) -> String {
    let mut sum = Score::default();
    scores.iter().for_each(|score| sum.merge(score));
    let range = |value: fn(&Score) -> f64| {
        let of_seeds = || scores.iter().map(value);
        let (low, high) =
            (of_seeds().fold(f64::INFINITY, f64::min), of_seeds().fold(f64::NEG_INFINITY, f64::max));
        format!("{:.2} ({low:.2} to {high:.2})", value(&sum))
    };
    let caught = |(caught, all): (usize, usize)| format!("{caught} of {all}");
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |\n",
        sum.usual,
        range(|score| score.share(score.slow)),
        range(|score| score.share(score.late_start)),
        range(|score| score.share(score.late_finish)),
        caught(sum.slowdowns),
        caught(sum.missed),
        range(Score::seen_at),
    )
}
