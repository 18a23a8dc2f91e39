//! The limit on requests per key, in windows of a minute and of an hour, counted in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName};
use chrono::Utc;
use contract::ids::KeyId;

pub const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Counts requests. Memory is bounded: only valid keys are counted, and those of past hours are forgotten.
#[derive(Debug)]
pub struct Limiter {
    windows: Vec<Window>,
    counts: Mutex<Counts>,
}

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug)]
struct Window {
    seconds: i64,
    limit: u32,
}

#[derive(Debug, Default)]
struct Counts {
    /// For each key and window, when it began and the requests in it.
    by_key: HashMap<KeyId, Vec<(i64, u32)>>,
    swept_at: i64,
}

/// How a key stands after a request: the window that is nearest to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// When the window ends, in seconds since 1970.
    pub reset: i64,
    /// Seconds to wait, when the request was one too many.
    pub exceeded: Option<u64>,
}

impl Standing {
    /// The headers of a limited response.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, self.reset.into());
    }
}

impl Limiter {
    /// Zero switches a window off.
    pub fn new(per_minute: u32, per_hour: u32) -> Self {
        let windows = [(60, per_minute), (3600, per_hour)];
        let windows = windows.into_iter().filter(|(_, limit)| *limit > 0);
        let windows = windows.map(|(seconds, limit)| Window { seconds, limit }).collect();
        Self { windows, counts: Mutex::default() }
    }

    /// Counts a request of this key; none when nothing is limited.
    pub fn count(&self, key: KeyId) -> Option<Standing> {
        match self.windows.is_empty() {
            true => None,
            false => self.count_at(key, Utc::now().timestamp()),
        }
    }

    fn count_at(&self, key: KeyId, now: i64) -> Option<Standing> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sweep(now);
        let of_key = counts.by_key.entry(key).or_insert_with(|| vec![(0, 0); self.windows.len()]);
        let standings = self.windows.iter().zip(of_key).map(|(window, (begun, count))| {
            let current = now - now % window.seconds;
            if *begun != current {
                (*begun, *count) = (current, 0);
            }
            *count = count.saturating_add(1);
            window.standing(current, *count, now)
        });
        // A refused request waits for the longest of the windows that refuse it.
        standings.min_by_key(|standing| (standing.exceeded.is_none(), standing.remaining, -standing.reset))
    }
}

impl Window {
    fn standing(self, begun: i64, count: u32, now: i64) -> Standing {
        let reset = begun + self.seconds;
        let exceeded = (count > self.limit).then(|| (reset - now).max(1).unsigned_abs());
        Standing { limit: self.limit, remaining: self.limit.saturating_sub(count), reset, exceeded }
    }
}

impl Counts {
    /// Once an hour everything begins anew for the keys that were not seen in it.
    fn sweep(&mut self, now: i64) {
        if now - self.swept_at >= 3600 {
            self.swept_at = now;
            self.by_key.retain(|_, windows| windows.iter().any(|(begun, _)| begun + 3600 > now));
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
    fn the_nearer_limit_is_told_and_the_next_window_begins_anew() {
        let limiter = Limiter::new(2, 100);
        let first = limiter.count_at(key(1), HOUR).unwrap();
        assert_eq!((first.limit, first.remaining, first.reset, first.exceeded), (2, 1, HOUR + 60, None));
        assert_eq!(limiter.count_at(key(1), HOUR + 1).unwrap().remaining, 0);
        assert_eq!(limiter.count_at(key(1), HOUR + 20).unwrap().exceeded, Some(40));
        assert_eq!(limiter.count_at(key(2), HOUR + 20).unwrap().exceeded, None);
        assert_eq!(limiter.count_at(key(1), HOUR + 60).unwrap().exceeded, None);
    }

    #[test]
    fn both_windows_count() {
        let limiter = Limiter::new(10, 3);
        let exceeded: Vec<_> =
            (0..4).map(|n| limiter.count_at(key(1), HOUR + n * 60).unwrap().exceeded).collect();
        assert_eq!(exceeded, [None, None, None, Some(3600 - 180)]);
    }

    #[test]
    fn keys_that_are_gone_are_forgotten() {
        let limiter = Limiter::new(10, 10);
        (0..1000).for_each(|n| assert!(limiter.count_at(key(n), HOUR).is_some()));
        limiter.count_at(key(1), HOUR + 3 * 3600);
        assert_eq!(limiter.counts.lock().unwrap().by_key.len(), 1);
    }

    #[test]
    fn nothing_is_counted_when_both_are_off() {
        assert_eq!(Limiter::new(0, 0).count(key(1)), None);
    }
}
