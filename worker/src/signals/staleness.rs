//! When a connector is stale, and how long its next poll takes, by its schedule.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use provider::connector::parse_schedule;

use super::judgement::seconds;

/// A connector is stale when it was not synced for so many intervals of its schedule, and this long.
const MISSED_INTERVALS: usize = 3;
const GRACE: TimeDelta = TimeDelta::minutes(5);

/// When a connector becomes stale that was synced last at this time; none without a schedule. The intervals
/// are those from the tick before the sync, which need not be equal.
pub(super) fn stale_at(schedule: Option<&str>, good_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let cron = parse_schedule(schedule?).ok()?;
    let before = cron.find_previous_occurrence(&good_at.trunc_subsecs(0), true).ok()?;
    let intervals = ticks(schedule?, good_at).nth(MISSED_INTERVALS - 1)? - before;
    Some(good_at + intervals + GRACE)
}

/// The seconds between the next two ticks of a schedule; none without one.
pub(super) fn poll_interval(schedule: Option<&str>, at: DateTime<Utc>) -> Option<f64> {
    let mut ticks = ticks(schedule?, at);
    Some(seconds(ticks.next()?, ticks.next()?))
}

fn ticks(schedule: &str, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let cron = parse_schedule(schedule).ok();
    let following = move |tick: &DateTime<Utc>| cron.as_ref()?.find_next_occurrence(tick, false).ok();
    let first = following(&after.trunc_subsecs(0));
    std::iter::successors(first, following)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_connector_is_stale_after_three_intervals_and_five_minutes() {
        let good_at = at("2026-03-02T08:00:10.5Z");
        assert_eq!(stale_at(Some("*/30 * * * * *"), good_at), Some(at("2026-03-02T08:06:40.5Z")));
        assert_eq!(stale_at(Some("0 * * * *"), good_at), Some(at("2026-03-02T11:05:10.5Z")));
        // A manual sync, just before the next scheduled one.
        let good_at = at("2026-03-02T08:59:50Z");
        assert_eq!(stale_at(Some("0 * * * *"), good_at), Some(at("2026-03-02T12:04:50Z")));
        assert_eq!(stale_at(Some("0 * * * *"), at("2026-03-02T09:00:00Z")), Some(at("2026-03-02T12:05:00Z")));
        // From Friday evening, with polls in working hours only.
        let good_at = at("2026-03-06T17:00:01Z");
        assert_eq!(stale_at(Some("0 8-17 * * 1-5"), good_at), Some(at("2026-03-09T10:05:01Z")));
        let good_at = at("2026-03-06T16:59:50Z");
        assert_eq!(stale_at(Some("0 8-17 * * 1-5"), good_at), Some(at("2026-03-09T10:04:50Z")));
        assert_eq!(stale_at(None, good_at), None);
    }

    #[test]
    fn the_poll_interval_is_that_of_the_next_ticks() {
        let now = at("2026-03-02T08:00:10Z");
        assert_eq!(poll_interval(Some("*/30 * * * * *"), now), Some(30.0));
        assert_eq!(poll_interval(Some("*/5 * * * *"), now), Some(300.0));
        assert_eq!(poll_interval(None, now), None);
    }
}
