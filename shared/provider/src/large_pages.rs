//! Large pages: only a few of them are in memory at once, in the whole process, from their first mebibyte
//! until what was made of them is published.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// A page that is larger than this many bytes is a large one.
const LARGE: usize = 1 << 20;
const MAX_LARGE_PAGES: usize = 3;
/// After this time a large page is read without a permit, so that slow sources do not stop the others.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

static PERMITS: Semaphore = Semaphore::const_new(MAX_LARGE_PAGES);

/// The permit of a large page, held while its text or its items are in memory.
#[derive(Debug, Default)]
pub struct PagePermit(Option<SemaphorePermit<'static>>);

impl PagePermit {
    /// Waits for a permit when a body becomes large: it had `before` bytes, and has `now`.
    pub(crate) async fn acquire(&mut self, before: usize, now: usize) {
        if before <= LARGE && now > LARGE {
            let permit = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            self.0 = permit.ok().and_then(Result::ok);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_waits_for_a_permit_when_it_becomes_large_and_not_too_long() {
        let mut held: Vec<PagePermit> = (0..MAX_LARGE_PAGES).map(|_| PagePermit::default()).collect();
        for page in &mut held {
            page.acquire(0, LARGE).await;
            page.acquire(LARGE, LARGE + 1).await;
            page.acquire(LARGE + 1, 2 * LARGE).await;
        }
        assert_eq!(PERMITS.available_permits(), 0);
        let mut next = PagePermit::default();
        next.acquire(0, 2 * LARGE).await;
        assert!(next.0.is_none(), "it goes on without a permit");
        held.pop();
        next.acquire(0, 2 * LARGE).await;
        assert!(next.0.is_some());
    }
}
