//! Time windows, and how they are split.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Rows are usually close together in time: most parts are empty, and each costs a request.
pub(super) const MAX_PARTS: u64 = 8;
/// An open window is split as if it had at least this length, since the server's clock may be ahead of ours.
const MIN_OPEN_LENGTH: TimeDelta = TimeDelta::minutes(1);
/// A shorter window is not split.
const MIN_LENGTH: TimeDelta = TimeDelta::milliseconds(1);
/// The resolution of Airflow's timestamps.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// A time window, both ends included; without `to` it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeWindow {
    pub from: DateTime<Utc>,
    pub to: Option<DateTime<Utc>>,
}

impl TimeWindow {
    /// Splits the window into equal parts, the earliest first. An open window gets one more part after
    /// `latest`, the expected end of its rows. Returns none if the window is too short.
    pub(super) fn split_equally(self, parts: u64, latest: DateTime<Utc>) -> Vec<Self> {
        let end = self.to.unwrap_or(latest.max(self.from + MIN_OPEN_LENGTH));
        let length = end - self.from;
        let part = length / i32::try_from(parts.clamp(2, MAX_PARTS)).unwrap_or(2);
        if length < MIN_LENGTH || part < TICK {
            return Vec::new();
        }
        let mut windows = Vec::new();
        let mut from = self.from;
        while from <= end {
            let to = (from + part).trunc_subsecs(6).min(end);
            windows.push(Self { from, to: Some(to) });
            from = to + TICK;
        }
        if self.to.is_none() {
            windows.push(Self { from, to: None });
        }
        windows
    }

    pub(super) fn contains(self, moment: DateTime<Utc>) -> bool {
        self.from <= moment && self.to.is_none_or(|to| moment <= to)
    }

    /// Splits the window at a moment: before it, the moment itself, and after it.
    pub(super) fn split_at(self, moment: DateTime<Utc>) -> Vec<Self> {
        let before = Self { from: self.from, to: Some(moment - TICK) };
        let after = Self { from: moment + TICK, to: self.to };
        let parts = [before, Self { from: moment, to: Some(moment) }, after];
        parts.into_iter().filter(|part| part.to.is_none_or(|to| part.from <= to)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(microseconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::microseconds(microseconds)
    }

    fn assert_covers(whole: TimeWindow, parts: &[TimeWindow]) -> Result<(), TestCaseError> {
        prop_assert_eq!(parts[0].from, whole.from);
        prop_assert_eq!(parts[parts.len() - 1].to, whole.to);
        for pair in parts.windows(2) {
            prop_assert_eq!(pair[0].to.map(|to| to + TICK), Some(pair[1].from), "no gap and no overlap");
        }
        prop_assert!(parts.iter().all(|part| part.to.is_none_or(|to| part.from <= to)));
        Ok(())
    }

    proptest! {
        #[test]
        fn equal_parts_cover_the_window(
            from in 0..i64::from(u32::MAX),
            length in proptest::option::of(0..100_000_000_000_i64),
            parts in any::<u64>(),
            latest in 0..i64::from(u32::MAX),
        ) {
            let whole = TimeWindow { from: moment(from), to: length.map(|length| moment(from + length)) };
            let parts = whole.split_equally(parts, moment(latest));
            prop_assert!(parts.len() as u64 <= MAX_PARTS + 2);
            if whole.to.is_none_or(|to| to - whole.from >= MIN_LENGTH) {
                prop_assert!(parts.len() >= 2);
                assert_covers(whole, &parts)?;
            } else {
                prop_assert!(parts.is_empty());
            }
        }

        #[test]
        fn the_parts_around_a_moment_cover_the_window(
            from in 0..1000_i64,
            inside in 0..1000_i64,
            remaining in proptest::option::of(1..1000_i64),
        ) {
            let moment_inside = moment(from + inside);
            let to = remaining.map(|length| moment(from + inside + length));
            let whole = TimeWindow { from: moment(from), to };
            assert_covers(whole, &whole.split_at(moment_inside))?;
        }
    }
}
