//! The rate limit per key: requests in fixed windows of a minute and of an hour. All replicas share the
//! budget of a window: each draws slices of it from PostgreSQL, and counts the requests of a slice itself.
//! Slices grow with the requests and shrink with what is left, so that replicas with few requests withhold
//! little.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use contract::ids::KeyId;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::http::rate_limit::RateLimitStatus;
use crate::store::rate_limits::{self, DrawnSlice, SliceRequest};

/// The first slice of a window is this part of its budget, and the largest one that part.
const FIRST_SLICE: u32 = 100;
const LARGEST_SLICE: u32 = 20;
/// A slice is at most this part of what is left.
const SLICE_OF_REST: u32 = 8;
const DRAW_TIMEOUT: Duration = Duration::from_secs(1);

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
    seconds: i32,
    limit: u32,
}

/// The rest of a window's budget, as this process knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    start: i64,
    /// The rest of the slices that this process has drawn.
    left: u32,
    /// What all replicas had drawn at the last draw.
    drawn: u32,
    next_slice: u32,
}

/// The budgets of a key, one for each window.
type KeyBudgets = Arc<tokio::sync::Mutex<Vec<Budget>>>;

#[derive(Debug, Default)]
struct Counters {
    by_key: HashMap<KeyId, KeyBudgets>,
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
    pub async fn count(&self, db: &PgPool, key: KeyId) -> Option<RateLimitStatus> {
        if self.windows.is_empty() {
            return None;
        }
        let now = Utc::now().timestamp();
        let budgets = self.budgets(key, now);
        // One request at a time draws for a key.
        let mut budgets = budgets.lock().await;
        let mut statuses = Vec::with_capacity(self.windows.len());
        for (window, budget) in self.windows.iter().zip(budgets.iter_mut()) {
            window.begin(budget, now);
            if let Some(size) = window.slice_to_draw(budget) {
                let slice = window.draw(db, key, budget.start, size).await;
                window.add(budget, slice);
            }
            statuses.push(window.take(budget, now));
        }
        // Of several exceeded windows the one with the longest wait counts.
        statuses
            .into_iter()
            .min_by_key(|status| (status.retry_after.is_none(), status.remaining, -status.reset))
    }

    fn budgets(&self, key: KeyId, now: i64) -> KeyBudgets {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.sweep(now);
        let of_key = counters.by_key.entry(key);
        let new = || Arc::new(tokio::sync::Mutex::new(vec![Budget::default(); self.windows.len()]));
        of_key.or_insert_with(new).clone()
    }
}

impl RateWindow {
    /// Begins the window of this time, unless it has begun.
    fn begin(self, budget: &mut Budget, now: i64) {
        let start = now - now % i64::from(self.seconds);
        if budget.start != start {
            *budget = Budget { start, next_slice: (self.limit / FIRST_SLICE).max(1), ..Budget::default() };
        }
    }

    /// Returns the size of the slice that the next request needs, if it needs one and there may be one.
    fn slice_to_draw(self, budget: &Budget) -> Option<u32> {
        let rest = self.limit.saturating_sub(budget.drawn);
        let largest = (rest / SLICE_OF_REST).max(self.limit / FIRST_SLICE).max(1);
        (budget.left == 0 && rest > 0).then(|| budget.next_slice.min(largest))
    }

    async fn draw(self, db: &PgPool, key: KeyId, window_start: i64, size: u32) -> Option<DrawnSlice> {
        let request = SliceRequest {
            key,
            window_seconds: self.seconds,
            window_start,
            limit: self.limit.into(),
            size: size.into(),
        };
        match timeout(DRAW_TIMEOUT, rate_limits::draw(db, request)).await {
            Ok(Ok(slice)) => Some(slice),
            Ok(Err(error)) => {
                tracing::debug!(%error, "rate limit counted in this process alone");
                None
            }
            Err(_) => None,
        }
    }

    /// Adds a slice. Without PostgreSQL, this process counts alone.
    fn add(self, budget: &mut Budget, slice: Option<DrawnSlice>) {
        let alone = DrawnSlice {
            granted: budget.next_slice.into(),
            drawn: i64::from(budget.drawn.saturating_add(budget.next_slice)),
        };
        let slice = slice.unwrap_or(alone);
        budget.left = u32::try_from(slice.granted).unwrap_or(0);
        budget.drawn = u32::try_from(slice.drawn).unwrap_or(u32::MAX);
        budget.next_slice = budget.next_slice.saturating_mul(2).min((self.limit / LARGEST_SLICE).max(1));
    }

    fn take(self, budget: &mut Budget, now: i64) -> RateLimitStatus {
        let is_exceeded = budget.left == 0;
        budget.left = budget.left.saturating_sub(1);
        let reset = budget.start + i64::from(self.seconds);
        let remaining = self.limit.saturating_sub(budget.drawn).saturating_add(budget.left);
        let retry_after = is_exceeded.then(|| (reset - now).max(1).unsigned_abs());
        RateLimitStatus { limit: self.limit, remaining, reset, retry_after }
    }
}

impl Counters {
    /// Removes, once an hour, the counters of keys that were not used within the last hour.
    fn sweep(&mut self, now: i64) {
        if now - self.swept_at >= 3600 {
            self.swept_at = now;
            let is_used = |budgets: &KeyBudgets| {
                // A locked one is in use.
                budgets.try_lock().map_or(true, |budgets| budgets.iter().any(|b| b.start + 3600 > now))
            };
            self.by_key.retain(|_, budgets| is_used(budgets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const HOUR: i64 = 1_700_000_000 / 3600 * 3600;

    /// Draws from a budget in memory.
    fn count(window: RateWindow, budget: &mut Budget, total: &mut u32, now: i64) -> RateLimitStatus {
        window.begin(budget, now);
        if let Some(size) = window.slice_to_draw(budget) {
            let granted = size.min(window.limit - *total);
            *total += granted;
            let slice = DrawnSlice { granted: granted.into(), drawn: (*total).into() };
            window.add(budget, Some(slice));
        }
        window.take(budget, now)
    }

    #[test]
    fn a_window_ends_at_its_limit_and_the_next_one_starts_at_zero() {
        let (window, mut budget, mut total) = (RateWindow { seconds: 60, limit: 2 }, Budget::default(), 0);
        let first = count(window, &mut budget, &mut total, HOUR);
        assert_eq!((first.limit, first.remaining, first.reset, first.retry_after), (2, 1, HOUR + 60, None));
        assert_eq!(count(window, &mut budget, &mut total, HOUR + 1).remaining, 0);
        assert_eq!(count(window, &mut budget, &mut total, HOUR + 20).retry_after, Some(40));
        total = 0;
        assert_eq!(count(window, &mut budget, &mut total, HOUR + 60).retry_after, None);
    }

    #[test]
    fn replicas_withhold_at_most_a_tenth_and_draw_rarely() {
        let window = RateWindow { seconds: 60, limit: 600 };
        let (mut busy, mut total, mut admitted, mut draws) = (Budget::default(), 0, 0, 0);
        // Five replicas with one request each.
        for _ in 0..5 {
            count(window, &mut Budget::default(), &mut total, HOUR);
            admitted += 1;
        }
        loop {
            let before = total;
            let status = count(window, &mut busy, &mut total, HOUR);
            draws += u32::from(total > before);
            if status.retry_after.is_some() {
                break;
            }
            admitted += 1;
        }
        assert!((540..=600).contains(&admitted), "{admitted} of 600");
        assert!(draws < 60, "{draws} draws");
    }

    #[test]
    fn without_postgresql_a_process_counts_alone() {
        let (window, mut budget) = (RateWindow { seconds: 60, limit: 5 }, Budget::default());
        let admitted = (0..10).filter(|_| {
            window.begin(&mut budget, HOUR);
            if window.slice_to_draw(&budget).is_some() {
                window.add(&mut budget, None);
            }
            window.take(&mut budget, HOUR).retry_after.is_none()
        });
        assert_eq!(admitted.count(), 5);
    }

    #[tokio::test]
    async fn counters_of_unused_keys_are_removed() {
        let limiter = KeyRateLimiter::new(10, 10);
        (0..1000).for_each(|n| drop(limiter.budgets(KeyId(Uuid::from_u128(n)), HOUR)));
        drop(limiter.budgets(KeyId(Uuid::nil()), HOUR + 3 * 3600));
        assert_eq!(limiter.counters.lock().unwrap().by_key.len(), 1);
    }
}
