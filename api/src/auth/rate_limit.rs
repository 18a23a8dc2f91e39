//! The rate limit per key: requests in fixed windows of a minute and of an hour, counted in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use contract::ids::KeyId;

use crate::http::rate_limit::RateLimitStatus;

/// Counts the requests of each key. Memory is bounded: only valid keys are counted, and unused counters are
/// removed once an hour.
#[derive(Debug)]
pub struct KeyRateLimiter {
    windows: Vec<RateWindow>,
    counters: Mutex<Counters>,
}

/// A fixed window and the number of requests it allows.
#[derive(Clone, Copy, Debug)]
struct RateWindow {
    seconds: i64,
    limit: u32,
}

#[derive(Debug, Default)]
struct Counters {
    /// For each key and window, the start of the window and the requests in it.
    by_key: HashMap<KeyId, Vec<(i64, u32)>>,
    swept_at: i64,
}

impl KeyRateLimiter {
    /// Creates a limiter; a limit of zero disables its window.
    pub fn new(per_minute: u32, per_hour: u32) -> Self {
        let windows = [(60, per_minute), (3600, per_hour)];
        let windows = windows.into_iter().filter(|(_, limit)| *limit > 0);
        let windows = windows.map(|(seconds, limit)| RateWindow { seconds, limit }).collect();
        Self { windows, counters: Mutex::default() }
    }

    /// Counts a request of this key; none when no limit is enabled.
    pub fn count(&self, key: KeyId) -> Option<RateLimitStatus> {
        if self.windows.is_empty() { None } else { self.count_at(key, Utc::now().timestamp()) }
    }

    fn count_at(&self, key: KeyId, now: i64) -> Option<RateLimitStatus> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.sweep(now);
        let of_key = counters.by_key.entry(key).or_insert_with(|| vec![(0, 0); self.windows.len()]);
        let statuses = self.windows.iter().zip(of_key).map(|(window, (start, count))| {
            let current = now - now % window.seconds;
            if *start != current {
                (*start, *count) = (current, 0);
            }
            *count = count.saturating_add(1);
            window.status(current, *count, now)
        });
        // Of several exceeded windows the one with the longest wait counts.
        statuses.min_by_key(|status| (status.retry_after.is_none(), status.remaining, -status.reset))
    }
}

impl RateWindow {
    fn status(self, start: i64, count: u32, now: i64) -> RateLimitStatus {
        let reset = start + self.seconds;
        let retry_after = (count > self.limit).then(|| (reset - now).max(1).unsigned_abs());
        let remaining = self.limit.saturating_sub(count);
        RateLimitStatus { limit: self.limit, remaining, reset, retry_after }
    }
}

impl Counters {
    /// Removes, once an hour, the counters of keys that were not used within the last hour.
    fn sweep(&mut self, now: i64) {
        if now - self.swept_at >= 3600 {
            self.swept_at = now;
            self.by_key.retain(|_, windows| windows.iter().any(|(start, _)| start + 3600 > now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const HOUR: i64 = 1_700_000_000 / 3600 * 3600;

    fn key(n: u128) -> KeyId {
        KeyId(Uuid::from_u128(n))
    }

    #[test]
    fn nearest_limit_is_reported_and_the_next_window_starts_at_zero() {
        let limiter = KeyRateLimiter::new(2, 100);
        let first = limiter.count_at(key(1), HOUR).unwrap();
        assert_eq!((first.limit, first.remaining, first.reset, first.retry_after), (2, 1, HOUR + 60, None));
        assert_eq!(limiter.count_at(key(1), HOUR + 1).unwrap().remaining, 0);
        assert_eq!(limiter.count_at(key(1), HOUR + 20).unwrap().retry_after, Some(40));
        assert_eq!(limiter.count_at(key(2), HOUR + 20).unwrap().retry_after, None);
        assert_eq!(limiter.count_at(key(1), HOUR + 60).unwrap().retry_after, None);
    }

    #[test]
    fn minute_and_hour_windows_both_count() {
        let limiter = KeyRateLimiter::new(10, 3);
        let waits: Vec<_> =
            (0..4).map(|n| limiter.count_at(key(1), HOUR + n * 60).unwrap().retry_after).collect();
        assert_eq!(waits, [None, None, None, Some(3600 - 180)]);
    }

    #[test]
    fn counters_of_unused_keys_are_removed() {
        let limiter = KeyRateLimiter::new(10, 10);
        (0..1000).for_each(|n| assert!(limiter.count_at(key(n), HOUR).is_some()));
        limiter.count_at(key(1), HOUR + 3 * 3600);
        assert_eq!(limiter.counters.lock().unwrap().by_key.len(), 1);
    }

    #[test]
    fn nothing_is_counted_when_both_windows_are_disabled() {
        assert_eq!(KeyRateLimiter::new(0, 0).count(key(1)), None);
    }
}
