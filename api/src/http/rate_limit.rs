//! The rate-limit status of a request, and the response headers with it. `auth` counts the requests.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName};

pub const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The rate limit of a key after a request, in the window that is nearest to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitStatus {
    pub limit: u32,
    pub remaining: u32,
    /// The end of the window, in seconds since 1970.
    pub reset: i64,
    /// The seconds to wait, when the request exceeded the limit.
    pub retry_after: Option<u64>,
}

/// Carries the rate-limit status of a request from the extractor, which counts it, to the middleware, which
/// writes the headers.
#[derive(Clone, Default)]
pub struct RateLimitSlot(Arc<OnceLock<RateLimitStatus>>);

impl RateLimitSlot {
    /// Returns the status, if the request was counted.
    pub fn get(&self) -> Option<RateLimitStatus> {
        self.0.get().copied()
    }

    /// Stores the status; only the first one counts.
    pub fn set(&self, status: RateLimitStatus) {
        let _ = self.0.set(status);
    }
}

impl RateLimitStatus {
    /// Writes the headers of a response.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, self.reset.into());
    }
}
