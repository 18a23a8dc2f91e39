//! The judgement of one run: whether it is slow or late, as it was seen last. The worker and the backtest
//! both judge by this function alone.

use chrono::{DateTime, Utc};
use contract::state::IncidentKind;

use crate::store::expectations::Expectation;

/// A run, or a due time without one, at the time when the provider was seen.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Whether its due time counts, unlike that of a run that was triggered by assets.
    pub is_due: bool,
    pub due_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub seen_at: DateTime<Utc>,
    /// Seconds until the provider is seen again.
    pub poll_interval: f64,
}

/// A limit that a run has exceeded. Both are in seconds, from the start of a slow run, and else from the due
/// time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Excess {
    pub kind: IncidentKind,
    pub limit: f64,
    pub elapsed: f64,
}

/// Judges an unfinished run, or a due time without one; returns the limits that it has exceeded.
pub fn judge(expected: &Expectation, sighting: &Sighting) -> Vec<Excess> {
    let Sighting { is_due, due_at, started_at, seen_at, poll_interval } = *sighting;
    let since_due = seconds(due_at, seen_at);
    let excess = |kind, limit, elapsed| (elapsed > limit).then_some(Excess { kind, limit, elapsed });
    let (slow, late) = match started_at {
        None => (None, excess(IncidentKind::LateStart, expected.start_p95 + poll_interval, since_due)),
        Some(started_at) => (
            excess(IncidentKind::Slow, expected.slow_after, seconds(started_at, seen_at)),
            excess(IncidentKind::LateFinish, expected.finish_after, since_due),
        ),
    };
    slow.into_iter().chain(late.filter(|_| is_due)).collect()
}

/// The seconds from one time to another.
pub(crate) fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_milliseconds() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    /// Runs that take about ten minutes, start within ten seconds, and are seen every 30 seconds.
    fn expected() -> Expectation {
        Expectation {
            class: "all".to_owned(),
            learned_runs: 20,
            duration_p50: 600.0,
            duration_p95: 640.0,
            slow_after: 800.0,
            start_p95: 10.0,
            finish_after: 820.0,
        }
    }

    fn sighting(started: Option<i64>, seen: i64) -> Sighting {
        let due_at = DateTime::UNIX_EPOCH;
        let after = |seconds| due_at + TimeDelta::seconds(seconds);
        let started_at = started.map(after);
        Sighting { is_due: true, due_at, started_at, seen_at: after(seen), poll_interval: 30.0 }
    }

    fn kinds(sighting: Sighting) -> Vec<IncidentKind> {
        judge(&expected(), &sighting).iter().map(|excess| excess.kind).collect()
    }

    #[test]
    fn a_run_is_late_or_slow_once_it_has_exceeded_a_limit() {
        use IncidentKind::{LateFinish, LateStart, Slow};
        assert_eq!(kinds(sighting(None, 40)), []);
        assert_eq!(kinds(sighting(None, 41)), [LateStart]);
        assert_eq!(kinds(sighting(Some(39), 41)), [], "it has started");
        assert_eq!(kinds(sighting(Some(0), 800)), []);
        assert_eq!(kinds(sighting(Some(0), 801)), [Slow]);
        assert_eq!(kinds(sighting(Some(0), 821)), [Slow, LateFinish]);
        assert_eq!(kinds(sighting(Some(200), 821)), [LateFinish]);
    }

    #[test]
    fn a_run_without_a_due_time_is_never_late() {
        let of_assets = |sighting| Sighting { is_due: false, ..sighting };
        assert_eq!(kinds(of_assets(sighting(None, 100_000))), []);
        assert_eq!(kinds(of_assets(sighting(Some(99_999), 100_000))), []);
        assert_eq!(kinds(of_assets(sighting(Some(0), 100_000))), [IncidentKind::Slow]);
    }

    proptest! {
        #[test]
        fn what_exceeds_a_limit_still_does_later(
            started in proptest::option::of(0_i64..2_000),
            seen in 0_i64..4_000,
            later in 0_i64..4_000,
        ) {
            let then = judge(&expected(), &sighting(started, seen + later));
            for first in judge(&expected(), &sighting(started, seen)) {
                let then = then.iter().find(|excess| excess.kind == first.kind).unwrap();
                prop_assert!(then.elapsed >= first.elapsed && first.elapsed > first.limit);
            }
        }

        #[test]
        fn a_run_as_usual_exceeds_nothing(start in 0_i64..=10, seen in 0_i64..=640) {
            prop_assert_eq!(kinds(sighting(Some(start), seen.max(start))), []);
            prop_assert_eq!(kinds(sighting(None, start)), []);
        }
    }
}
