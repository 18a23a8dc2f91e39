//! The time windows of a poll: after an outage the changes are read window by window, so that what was read
//! is not read again if the poll fails.

use chrono::{DateTime, TimeDelta, Utc};
use provider::{RunScope, TaskRunScope};

/// The length of a window, unless there would be too many.
const LENGTH: TimeDelta = TimeDelta::minutes(30);
/// The maximum number of windows of one poll.
const MAX_WINDOWS: i32 = 50;

/// A time window of changes, by the provider's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChangeWindow {
    since: DateTime<Utc>,
    /// None for the last window of a poll, which ends when it is read.
    pub(super) until: Option<DateTime<Utc>>,
}

impl ChangeWindow {
    /// The windows since this time, the earliest first. All but the last one end long before now, later than
    /// which the provider may still commit changes with their times: `overlap`.
    pub(super) fn split(since: DateTime<Utc>, now: DateTime<Utc>, overlap: TimeDelta) -> Vec<Self> {
        let length = LENGTH.max((now - since) / MAX_WINDOWS);
        let mut windows = Vec::new();
        let mut since = since;
        while since + length <= now - length.max(overlap) {
            windows.push(Self { since, until: Some(since + length) });
            since += length;
        }
        windows.push(Self { since, until: None });
        windows
    }

    /// The part of the window after this time; none if it ends before.
    pub(super) fn after(self, from: DateTime<Utc>) -> Option<Self> {
        let is_before = self.until.is_some_and(|until| until <= from);
        (!is_before).then(|| Self { since: self.since.max(from), ..self })
    }

    pub(super) fn runs(self) -> RunScope {
        match self.until {
            Some(until) => RunScope::ChangedBetween(self.since, until),
            None => RunScope::ChangedSince(self.since),
        }
    }

    pub(super) fn task_runs(self) -> TaskRunScope {
        match self.until {
            Some(until) => TaskRunScope::ChangedBetween(self.since, until),
            None => TaskRunScope::ChangedSince(self.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_time_since_the_cursor() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let overlap = TimeDelta::seconds(30);
        for (minutes, count) in
            [(0, 1), (1, 1), (59, 1), (60, 2), (8 * 60, 16), (24 * 60, 48), (60 * 24 * 365, 50)]
        {
            let since = now - TimeDelta::minutes(minutes);
            let windows = ChangeWindow::split(since, now, overlap);
            assert_eq!(windows.len(), count, "{minutes} minutes");
            assert_eq!((windows[0].since, windows[count - 1].until), (since, None));
            for pair in windows.windows(2) {
                assert_eq!(pair[0].until, Some(pair[1].since));
                assert!(pair[1].since <= now - overlap);
            }
        }
        let window = ChangeWindow { since: now - overlap, until: Some(now) };
        assert_eq!(window.after(now), None);
        assert_eq!(window.after(window.since - overlap), Some(window));
        let later = now - overlap / 2;
        assert_eq!(window.after(later), Some(ChangeWindow { since: later, ..window }));
        let long = TimeDelta::hours(3);
        let windows = ChangeWindow::split(now - TimeDelta::hours(8), now, long);
        assert!(windows[windows.len() - 1].since <= now - long);
    }
}
