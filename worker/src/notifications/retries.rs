//! When a message is sent again after a failed attempt, and how long its channel pauses.

use std::time::Duration;

use crate::store::notification_deliveries::AttemptEffect;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The wait after each failed attempt, as Standard Webhooks recommends; after the last one, none follows.
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    minutes(5),
    minutes(30),
    minutes(2 * 60),
    minutes(5 * 60),
    minutes(10 * 60),
    minutes(14 * 60),
    minutes(20 * 60),
    minutes(24 * 60),
];
/// The pause of a channel after so many failures in a row, so that a receiver that is down takes little of a
/// worker's time.
const PAUSES: [Duration; 5] =
    [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60), minutes(2), minutes(5)];
/// Waits are up to this part longer, so that messages that failed together are not sent again together.
const JITTER: f64 = 0.2;

/// Returns what follows a failed attempt after so many others of the same schedule. `Retry-After` is kept if
/// it is longer. `random` is in 0..1.
pub(super) fn effect_of_failure(before: i32, retry_after: Option<Duration>, random: f64) -> AttemptEffect {
    let wait = usize::try_from(before).ok().and_then(|before| WAITS.get(before));
    match wait {
        Some(wait) => {
            let wait = wait.mul_f64(1.0 + JITTER * random);
            AttemptEffect::Retry(retry_after.map_or(wait, |after| after.max(wait)))
        }
        None => AttemptEffect::Failed,
    }
}

/// Returns how long a channel pauses after so many failures in a row, the last one included.
pub(super) fn pause_after(failures: i32, retry_after: Option<Duration>) -> Duration {
    let index = usize::try_from(failures.max(1) - 1).unwrap_or(0).min(PAUSES.len() - 1);
    retry_after.map_or(PAUSES[index], |after| after.max(PAUSES[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_the_schedule_and_end() {
        let waits: Vec<_> = (0..10).map(|before| effect_of_failure(before, None, 0.0)).collect();
        let expected = WAITS.map(AttemptEffect::Retry).into_iter().chain([AttemptEffect::Failed]);
        assert_eq!(waits, expected.collect::<Vec<_>>());
    }

    #[test]
    fn jitter_only_lengthens_a_wait_and_a_longer_retry_after_is_kept() {
        let wait = |retry_after: Option<u64>, random| {
            effect_of_failure(1, retry_after.map(Duration::from_secs), random)
        };
        assert_eq!(wait(None, 0.5), AttemptEffect::Retry(Duration::from_secs(330)));
        assert_eq!(wait(Some(10), 0.0), AttemptEffect::Retry(Duration::from_secs(300)));
        assert_eq!(wait(Some(4000), 0.5), AttemptEffect::Retry(Duration::from_secs(4000)));
    }

    #[test]
    fn a_channel_pauses_longer_with_each_failure() {
        let pauses = [1, 2, 3, 4, 5, 6, 1000].map(|failures| pause_after(failures, None).as_secs());
        assert_eq!(pauses, [5, 15, 60, 120, 300, 300, 300]);
        assert_eq!(pause_after(1, Some(Duration::from_secs(90))).as_secs(), 90);
    }
}
